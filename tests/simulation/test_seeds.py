"""Seeds: random workflows in an unkind world, all invariants watched. ``python -m tests.simulation`` runs more of them.

A seed that once found a fault stays below, under the name of what was wrong.
"""

import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from tests.simulation.examples import EXAMPLES
from tests.simulation.faults import REFUSALS, WithRefusals
from tests.simulation.runs import REFUSED, WIDE, plan_of, run_seed, undisturbed
from tests.simulation.widening import FEATURES, features_of
from tests.simulation.workflows import CORPUS
from tests.simulation.world import BEGINNING

BATCHES = 10
WIDE_BATCHES = 4
REFUSED_BATCHES = 2
SEEDS_PER_BATCH = 15


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failing actions are the daily bread here; nobody reads of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def faults_of(seeds: range) -> list[str]:
    """What went wrong, each with the seed that shows it again."""
    found = []
    for seed in seeds:
        try:
            run_seed(seed)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to its seed
            found.append(f"python -m tests.simulation --seed {seed} --verbose: {type(error).__name__}: {error}"[:600])
    return found


def seeds_of(batch: int, first: int = 0) -> range:
    return range(first + batch * SEEDS_PER_BATCH, first + (batch + 1) * SEEDS_PER_BATCH)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_every_invariant_holds_for_every_seed(batch: int):
    assert faults_of(seeds_of(batch)) == []


@pytest.mark.parametrize("batch", range(WIDE_BATCHES))
def test_every_invariant_holds_in_the_whole_language_with_clocks_that_differ_and_two_versions_of_the_code(batch: int):
    assert faults_of(seeds_of(batch, WIDE)) == []


@pytest.mark.parametrize("batch", range(REFUSED_BATCHES))
def test_every_invariant_holds_where_aws_refuses_calls_or_does_not_answer_them(batch: int):
    assert faults_of(seeds_of(batch, REFUSED)) == []


def test_the_seeds_use_refusals_of_all_kinds():
    plans = [plan_of(seed) for batch in range(REFUSED_BATCHES) for seed in seeds_of(batch, REFUSED)]
    faults = [plan.circumstances.faults for plan in plans]
    used = [each for each in faults if isinstance(each, WithRefusals) and each.per_mille]

    assert {fault for each in used for call in range(10_000) if (fault := each.at(call, "")) in REFUSALS} == REFUSALS
    assert any(each.in_a_row > 1 for each in used)
    assert any(plan.case in EXAMPLES.values() for plan in plans)


def test_the_seeds_use_every_feature_of_the_language():
    used: Counter[str] = Counter()
    for batch in range(WIDE_BATCHES):
        for seed in seeds_of(batch, WIDE):
            used += features_of(yaml.safe_load(plan_of(seed).case.text))

    assert {feature for feature in FEATURES if not used[feature]} == set()


def test_the_seeds_use_everything_that_goes_wrong():
    plans = [plan_of(seed) for batch in range(WIDE_BATCHES) for seed in seeds_of(batch, WIDE)]
    used = [plan.circumstances for plan in plans]

    assert any(plan.has_operator for plan in plans)
    assert any(plan.is_small for plan in plans)
    assert {each.doors for each in used} >= {1, 2, 3}
    assert all(each.clocks > 1 and each.executors > 1 for each in used)
    assert any(each.skew_sec for each in used)
    assert any(each.old_share for each in used)
    assert any(each.stalls for each in used)
    assert any(each.delivery.lost for each in used)
    assert any(each.delivery.duplicated for each in used)
    assert any(each.delivery.late and not each.delivery.in_order for each in used)


def test_a_result_of_an_item_that_lost_its_race_is_counted_without_waiting_for_an_alarm():
    assert undisturbed(CORPUS["sub-workflows"]).clock.now() < BEGINNING + 60


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(142, id="a workflow ended while commands of a finished task were still to be carried out"),
        pytest.param(192, id="a process that knew an old state overwrote the result of an item"),
        pytest.param(263, id="a task stopped by pause-before ran after its workflow had ended"),
        pytest.param(349, id="an item that a lost turn had left behind ran, though it was never released"),
        pytest.param(532, id="the end of a paused sub-workflow was told once, and lost"),
        pytest.param(504, id="records of items outlived the turn that was to create them"),
        pytest.param(10194, id="a late word of a sub-workflow revived an action that had ended"),
        pytest.param(10965, id="a pause and a resumption followed each other through a family for ever"),
        pytest.param(11057, id="a join whose arrivals waited behind a pause ran twice"),
        pytest.param(12591, id="a join ran before an arrival that was put off in the same turn, and again after it"),
        pytest.param(301356, id="a sub-workflow was told to pause after it had ended, and its message failed"),
        pytest.param(12492, id="the history did not know that a decision had seen the end of an item"),
        pytest.param(10412, id="nor that the report of a failure had"),
        pytest.param(11651, id="an item that ran again was rebuilt as if it had never failed"),
        pytest.param(302644, id="a process with an old header decided about a task of a newer one, and never ended"),
        pytest.param(304329, id="an item of an attempt that was over ran beside the first item of the next attempt"),
        pytest.param(18806, id="the history did not know how items of an attempt that was over had ended"),
        pytest.param(402149, id="items of a second attempt whose results were not kept were never counted"),
        pytest.param(506720, id="a late word of a sub-workflow revived an action of an attempt that was over"),
        pytest.param(510582, id="nor was it told to the history what such an action had come to before"),
        pytest.param(753232, id="three lost races for its note lost an action that is asked again"),
        pytest.param(508757, id="a join of a failed workflow was never told that its retry was due"),
        pytest.param(751855, id="items of a join that was reached again were lost when its workflow had failed"),
        pytest.param(956847, id="a claim was lost with a turn that took effect unanswered and was written over"),
        pytest.param(1000086, id="nor is an action that a lost turn claimed taken for such a claim"),
        pytest.param(1160421, id="a sub-workflow of an attempt that was over set its task running, for ever"),
        pytest.param(20620, id="items stayed paused although the sub-workflow that paused them had ended"),
        pytest.param(424281, id="a stalled process was taken for one that asks when its time had long been up"),
        pytest.param(424146, id="a failed workflow was not told the end of a sub-workflow that had been paused"),
        pytest.param(424558, id="an item of a paused task whose start was lost never started in a failed workflow"),
    ],
)
def test_what_was_found_once_stays_mended(seed: int):
    assert faults_of(range(seed, seed + 1)) == []
