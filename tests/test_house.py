"""The shape of the house: sizes, layers, tables and manners, kept true by tests."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from chalicelib import limits
from chalicelib.vocabulary import COMPLETED, MAY_BECOME, State

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60
TEXT_BYTES_MAX = 2 * 1024 * 1024
NOT_OURS = {".git", ".venv", "__pycache__", "build", "dist", "htmlcov", "node_modules", "package"}


def committed_files():
    """Every file that a commit holds, or would hold; the tree itself where there is no repository."""
    names = names_known_to_git()
    if names:
        paths = [ROOT / name for name in names]
    else:
        paths = [path for path in ROOT.rglob("*") if not is_made_here(path.relative_to(ROOT))]
    return sorted(path for path in paths if path.is_file())


def names_known_to_git():
    """What git tracks or would offer to add; nothing where git, or a repository it trusts, is missing."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return set()
    return set(filter(None, listing.stdout.split("\0"))) if listing.returncode == 0 else set()


def is_made_here(path):
    """Whether a path of an exported tree was made by the tools (what .gitignore says where git is there)."""
    return any(part in NOT_OURS or part.endswith(("_cache", ".egg-info")) for part in path.parts)


def product_modules():
    """``app.py`` and everything in ``chalicelib``."""
    return [path for path in committed_files() if path.suffix == ".py" and within_product(path.relative_to(ROOT))]


def within_product(path):
    return path == Path("app.py") or path.parts[0] == "chalicelib"


def committed_texts():
    """Path and text of every committed file that is text."""
    for path in committed_files():
        if path.stat().st_size <= TEXT_BYTES_MAX:
            try:
                yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def lines_that_say(pattern):
    """Where a pattern stands in the committed texts, as ``path:line: text``."""
    return [
        f"{path}:{number}: {line.strip()[:160]}"
        for path, text in committed_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def imported_modules(path):
    """The absolute names that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_the_product_is_found():
    names = {path.relative_to(ROOT).as_posix() for path in product_modules()}

    assert {"chalicelib/__init__.py", "chalicelib/vocabulary.py", "chalicelib/lang/specs.py"} <= names


def test_no_module_is_longer_than_one_can_read():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in product_modules()}

    assert {name: length for name, length in lengths.items() if length > MODULE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_page():
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in product_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: length for name, length in lengths.items() if length > FUNCTION_LINES_MAX} == {}


def test_what_lambda_imports_makes_and_replaces_its_records_with_what_is_cheap():
    users = [
        path.relative_to(ROOT).as_posix()
        for path in product_modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if {"dataclass", "replace"} & {alias.name for alias in node.names}
    ]

    others = {name for name in users if not name.startswith("chalicelib/local/")}
    assert others == {"chalicelib/data.py"}, "take it from chalicelib.data"


def test_every_directory_of_modules_is_a_package():
    directories = {path.parent for path in product_modules() if path.parent != ROOT}

    assert [
        str(directory.relative_to(ROOT)) for directory in directories if not (directory / "__init__.py").exists()
    ] == []


def test_every_package_opens_with_its_purpose_and_holds_nothing_else():
    bodies = {
        path: ast.parse(path.read_text(encoding="utf-8")).body
        for path in product_modules()
        if path.name == "__init__.py"
    }

    assert bodies
    assert [
        str(path.relative_to(ROOT))
        for path, body in bodies.items()
        if len(body) != 1 or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Constant)
    ] == []


def test_the_import_contracts_hold():
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    report = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert report.returncode == 0, report.stdout + report.stderr
    assert "Contracts: 2 kept, 0 broken" in report.stdout


def test_the_contract_of_the_core_names_every_layer_from_the_engine_down():
    contracts = {contract["id"]: contract for contract in settings()["tool"]["importlinter"]["contracts"]}
    layers = re.findall(r"\w+", " ".join(contracts["layers"]["layers"]))
    core = {f"chalicelib.{layer}" for layer in layers[layers.index("engine") :] if exists(layer)}

    assert set(contracts["pure"]["source_modules"]) == core


def exists(layer):
    """Whether a layer has been built, as a module or as a package."""
    return (ROOT / "chalicelib" / f"{layer}.py").exists() or (ROOT / "chalicelib" / layer).is_dir()


def test_nothing_below_the_doors_knows_the_doors():
    above = {
        path.relative_to(ROOT).as_posix(): names
        for path in product_modules()
        if (names := {name for name in imported_modules(path) if is_above(name, path.relative_to(ROOT))})
    }

    assert above == {}


def is_above(module, importer):
    """Whether ``importer`` may not import ``module``: the local service starts the doors, and nothing starts it."""
    if module.split(".")[0] == "app":
        return importer.parts[:2] != ("chalicelib", "local")
    return module.startswith("chalicelib.local") and importer.parts[:2] != ("chalicelib", "local")


def test_every_state_has_a_row_of_what_it_may_become():
    assert set(MAY_BECOME) == set(State)
    assert set().union(*MAY_BECOME.values()) <= set(State)


def test_every_state_counts_as_completed_or_not():
    assert {state for state in State if state.is_completed} == set(COMPLETED)
    assert all(State.RUNNING in MAY_BECOME[state] for state in set(State) - COMPLETED - {State.RUNNING})


def test_every_bound_is_a_positive_number():
    bounds = {name: value for name, value in vars(limits).items() if name.isupper()}

    assert bounds
    assert {name: value for name, value in bounds.items() if not isinstance(value, int | float) or value <= 0} == {}


def test_the_executors_run_as_long_as_the_engine_believes():
    functions = json.loads((ROOT / ".chalice/config.json").read_text(encoding="utf-8"))["lambda_functions"]

    assert functions["executor"]["lambda_timeout"] == limits.EXECUTOR_TIMEOUT_SEC
    assert functions["executor_long"]["lambda_timeout"] == limits.EXECUTOR_LONG_TIMEOUT_SEC


def test_every_stage_has_its_permissions_written_by_hand():
    config = json.loads((ROOT / ".chalice/config.json").read_text(encoding="utf-8"))
    settings = [config, *config["stages"].values(), *config["lambda_functions"].values()]
    policies = {setting["iam_policy_file"] for setting in settings if "iam_policy_file" in setting}

    assert config["autogen_policy"] is False
    assert policies
    assert [name for name in policies if "Statement" not in json.loads((ROOT / ".chalice" / name).read_text())] == []


def test_no_file_names_a_path_of_one_machine():
    # Written in two halves, so that this file does not name them either.
    pattern = re.compile(
        r"(?<![\w.{$-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me/\w+|Us" + r"ers/\w+|tm" + r"p/\w+)(?:/|\b)"
    )

    assert lines_that_say(pattern) == []


def test_no_file_names_a_package_registry():
    hosts = r"pypi\." + r"org|python" + r"hosted|npm" + r"js\.org"
    options = r"(?:index-" + r"url|find-" + r"links)[ =]+\S*/"

    assert lines_that_say(re.compile(f"{hosts}|{options}")) == []


def test_the_lock_pins_every_direct_dependency_with_its_hash():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = {plain(name) for name in re.findall(r"^([\w.-]+)==\S+ \\\n +--hash=sha256:", lock, re.MULTILINE)}

    assert {name for name in direct_dependencies() if plain(name) not in locked} == set()


def test_every_direct_dependency_is_explained():
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")

    assert {name for name in direct_dependencies() if f"| `{name}` |" not in text} == set()


def test_no_dependency_is_explained_that_is_gone():
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)) - direct_dependencies() == set()


def direct_dependencies():
    """The names that pyproject.toml asks for, whatever the extra."""
    project = settings()["project"]
    needs = [*project["dependencies"], *(need for extra in project["optional-dependencies"].values() for need in extra)]
    return {re.split(r"[\[<>=!~ ]", need)[0] for need in needs}


def settings():
    """pyproject.toml, read."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def plain(name):
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_installed_is_this_project():
    assert importlib.metadata.metadata("mistral-serverless")["License-Expression"] == "Apache-2.0"
