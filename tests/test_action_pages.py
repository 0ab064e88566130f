"""The pages of the actions are those that the actions make, and lead somewhere."""

import pytest

from chalicelib.actions.registry import Registry
from chalicelib.local import action_pages
from tests.markdown import anchors, links

PATHS = sorted(action_pages.FOLDER.glob("*.md"))


def test_the_pages_on_file_are_current():
    on_file = {path.name: path.read_text("utf-8") for path in PATHS}
    assert on_file == action_pages.pages(), "run: python -m chalicelib.local.action_pages"


def test_each_std_action_has_a_page_that_tells_every_parameter():
    for summary in Registry().page(prefix="std."):
        action = Registry().find(summary.name)
        assert action is not None
        text = (action_pages.FOLDER / f"{summary.name}.md").read_text("utf-8")
        assert text.startswith(f"# `{summary.name}`\n\n{action.description.splitlines()[0][:20].replace('``', '`')}")
        for parameter in action.parameters:
            assert f"| `{parameter.name}` |" in text
            assert parameter.description, (summary.name, parameter.name)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve()
        assert target.exists()
        assert not anchor or anchor in anchors(target)


def test_pages_of_actions_that_are_gone_are_removed(tmp_path):
    (tmp_path / "std.gone.md").write_text("old")
    action_pages.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == action_pages.pages().keys()
