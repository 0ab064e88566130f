"""The package and its template hold; the libraries are those of the tests, nothing is downloaded."""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import jmespath  # type: ignore[import-untyped]
import pytest
import yaql

from infra import archive
from infra.package import ROOT, names_of, packaged, settings_of
from tests.deployed import expanded_text, packaged_template

MODEL = Path(yaql.__file__).parents[1] / "botocore/data/sqs/2012-11-05/service-2.json.gz"


def lint(path):
    """What cfn-lint says of a template."""
    program = Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--non-zero-exit-code", "informational", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", [lambda: json.dumps(packaged_template()), expanded_text], ids=["SAM", "expanded"])
def test_the_template_has_no_finding(tmp_path, text):
    path = tmp_path / "template.json"
    path.write_text(text(), encoding="utf-8")
    ended = lint(path)
    assert ended.returncode == 0, ended.stdout


def test_a_wrong_template_has_one(tmp_path):
    made = json.loads(expanded_text())
    made["Resources"]["MistralTasksQueue"]["Properties"]["VisibilityTimeout"] = "soon"
    path = tmp_path / "template.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    assert lint(path).returncode != 0


def test_the_names_of_a_stage_come_from_its_settings():
    assert (names_of("prod").prefix, names_of("dev").prefix) == ("mistral-", "mistral-dev-")
    with pytest.raises(ValueError, match="has no stage 'moon', only dev, prod"):
        settings_of("moon")


def test_an_api_can_be_private(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name in ("app.py", "chalicelib"):
        (root / name).symlink_to(ROOT / name)
    config = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))
    config |= {"api_gateway_endpoint_type": "PRIVATE", "api_gateway_endpoint_vpce": ["vpce-1"]}
    (root / ".chalice").mkdir()
    (root / ".chalice" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for path in (ROOT / ".chalice").glob("policy-*.json"):
        (root / ".chalice" / path.name).write_bytes(path.read_bytes())
    packaged("prod", "us-east-1", tmp_path / "out", requirements="", root=root)
    api = json.loads((tmp_path / "out" / "sam.json").read_text("utf-8"))["Resources"]["RestAPI"]["Properties"]
    assert api["EndpointConfiguration"] == "PRIVATE"
    assert "vpce-1" in json.dumps(api["DefinitionBody"]["x-amazon-apigateway-policy"])


@pytest.fixture
def small(tmp_path):
    """A package with a small program and one library."""
    unpacked = tmp_path / "small"
    files = {
        "app.py": "import lib\n",
        "chalicelib/__init__.py": "",
        "chalicelib/door.py": "def work():\n    import lib.deep\n",
        "lib/__init__.py": "",
        "lib/deep.py": "ANSWER = 42\n",
        "lib/tests/__init__.py": "",
        "setuptools/__init__.py": "",
    }
    for name, text in files.items():
        path = unpacked / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return unpacked


def test_what_is_imported_anywhere_must_be_in_the_package(small):
    assert set(archive.imported(small)) == {"lib"}
    (small / "chalicelib" / "door.py").write_text("def work():\n    import absent.deep\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not in the package: absent"):
        archive.check(small)


def test_what_a_library_lacks_is_found_too(small):
    (small / "lib" / "__init__.py").write_text("import jmespath\n", encoding="utf-8")
    assert jmespath  # is installed here, which must not help
    with pytest.raises(ValueError, match=r"cannot be imported: .*jmespath"):
        archive.check(small)


def test_libraries_are_compiled_and_our_own_sources_stay(small):
    archive.leave_out(small)
    archive.compile_all(small)
    files = {path.relative_to(small).as_posix() for path in small.rglob("*") if path.is_file()}
    tag = sys.implementation.cache_tag
    assert files == {
        "app.py",
        f"__pycache__/app.{tag}.pyc",
        "chalicelib/__init__.py",
        "chalicelib/door.py",
        f"chalicelib/__pycache__/__init__.{tag}.pyc",
        f"chalicelib/__pycache__/door.{tag}.pyc",
        "lib/__init__.pyc",
        "lib/deep.pyc",
    }
    # Not looked at against the source, whose time a package does not keep: the flags say so.
    assert (small / "__pycache__" / f"app.{tag}.pyc").read_bytes()[4:8] == b"\1\0\0\0"


def test_the_same_content_gives_the_same_bytes(small, tmp_path):
    archive.write(small, tmp_path / "one.zip")
    (small / "app.py").touch()
    archive.write(small, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").testzip() is None


def test_a_model_keeps_what_is_called_and_what_is_shown():
    before = json.loads(gzip.decompress(MODEL.read_bytes()))
    packed = archive.without_documentation(MODEL.read_bytes())
    after = json.loads(gzip.decompress(packed))
    assert len(packed) < len(MODEL.read_bytes()) / 2
    assert after["operations"]["SendMessage"]["documentation"].startswith("<p>Delivers a message")
    assert after["operations"].keys() == before["operations"].keys()
    assert after["shapes"].keys() == before["shapes"].keys()
    members = before["shapes"]["SendMessageRequest"]["members"]
    assert after["shapes"]["SendMessageRequest"]["members"] == {
        name: {key: value for key, value in member.items() if key != "documentation"}
        for name, member in members.items()
    }


def test_debugging_sections_become_zeros_and_the_library_still_loads(tmp_path):
    [source] = (Path(yaql.__file__).parents[1]).glob("_quickjs*.so")
    bare = archive.without_debugging(source.read_bytes())
    assert len(bare) == source.stat().st_size
    assert bare.count(0) > source.read_bytes().count(0)
    (tmp_path / source.name).write_bytes(bare)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import _quickjs; print(_quickjs.__file__)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == str(tmp_path / source.name), ended.stderr
    assert archive.without_debugging(b"no library") == b"no library"
