"""The package that Lambda is given: only what runs there, compiled, no larger than it must be, always the same bytes.

Lambda's file system is read-only: without bytecode in the package, every cold start would compile everything again.
"""

from __future__ import annotations

import ast
import gzip
import json
import py_compile
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

BYTES_MAX: Final = 20_000_000
LAMBDA_FOLDER: Final = "/var/task"

# What is left out, and why nobody misses it.
LEFT_OUT: Final[dict[str, str]] = {
    "setuptools": "asked for by pbr, which has its own way to read metadata",
    "setuptools-*": "likewise",
    "_distutils_hack": "likewise",
    "distutils-precedence.pth": "likewise",
    "pkg_resources": "likewise",
    "*/tests": "tests of libraries",
    "chalice/cli": "the command line of Chalice",
    "cffi": "makes extension modules; what they need when they run is `_cffi_backend`",
    "pycparser": "likewise",
    "botocore/data/*/*/examples-1.json": "examples for a documentation that nobody makes here",
    "chalicelib/local": "the service on a developer's machine",
    "*/__pycache__": "made anew, in the form that Lambda can use",
    "boto3": "nothing here imports it; users' code finds the one that Lambda brings along",
    "boto3-*": "likewise",
    "s3transfer": "a part of boto3",
    "s3transfer-*": "likewise",
    "botocore/cacert.pem": "certifi's certificates are taken if they are there",
    "dateutil/zoneinfo/*.tar.gz": "time zones come from tzdata",
    "yaql/cli": "a command line",
    "*.dist-info/RECORD": "for the one who installs",
    "*.pyi": "types of libraries",
    "*.pyx": "sources of compiled modules",
    "*.pxd": "sources of compiled modules",
    "*.c": "sources of compiled modules",
}

# Imported where it is there, and done without where it is not.
OPTIONAL: Final = frozenset({"mistral_lib"})
# The clients of OpenStack, for its actions: `make package EXTRAS="ssh javascript openstack"` packs them.
OPENSTACK: Final = frozenset(
    {
        "cinderclient",
        "glanceclient",
        "heatclient",
        "keystoneauth1",
        "keystoneclient",
        "neutronclient",
        "novaclient",
        "swiftclient",
    }
)

_PARAGRAPH: Final = re.compile(r"<p>.+?</p>", re.DOTALL)
_TAG: Final = sys.implementation.cache_tag
_UNCHECKED: Final = py_compile.PycInvalidationMode.UNCHECKED_HASH
# Of ELF: a section with content of the program's own, and one that is loaded into memory.
_PROGBITS: Final = 1
_LOADED: Final = 2
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def tightened(package: Path, folder: Path, bytes_max: int = BYTES_MAX) -> None:
    """Make the package again without what is not needed, in a scratch folder. Raises ValueError if it is bad."""
    unpacked = folder / "package"
    with zipfile.ZipFile(package) as made:
        made.extractall(unpacked)
    leave_out(unpacked)
    for model in sorted(unpacked.glob("botocore/data/*/*/service-2.json.gz")):
        model.write_bytes(without_documentation(model.read_bytes()))
    for library in sorted(unpacked.rglob("*.so*")):
        library.write_bytes(without_debugging(library.read_bytes()))
    compile_all(unpacked)
    check(unpacked)
    write(unpacked, package)
    size = package.stat().st_size
    if size > bytes_max:
        raise ValueError(f"{package} has {size:,} bytes; {bytes_max:,} are allowed. See LEFT_OUT in infra/archive.py.")


def leave_out(unpacked: Path) -> None:
    """Delete what LEFT_OUT names."""
    for path in sorted(unpacked.rglob("*")):
        name = path.relative_to(unpacked).as_posix()
        if path.exists() and any(fnmatchcase(name, pattern) for pattern in LEFT_OUT):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def without_documentation(packed: bytes) -> bytes:
    """A model of botocore's with only the first paragraph on each operation, which the API shows."""
    model = json.loads(gzip.decompress(packed))
    # Only there: elsewhere botocore asks for it.
    model["shapes"] = _bare(model["shapes"])
    for operation in model["operations"].values():
        if text := operation.get("documentation"):
            operation["documentation"] = next(iter(_PARAGRAPH.findall(text)), text)
    return gzip.compress(json.dumps(model, separators=(",", ":")).encode(), 9, mtime=0)


def without_debugging(library: bytes) -> bytes:
    """A shared library with zeros where a debugger would find something: nothing moves, and zeros pack to nothing."""
    if library[:6] != b"\x7fELF\x02\x01":
        return library
    (table,) = struct.unpack_from("<Q", library, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", library, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", library, table + entry_size * index) for index in range(count)]
    names_at = sections[names_index][4]
    result = bytearray(library)
    for name_at, kind, flags, _address, offset, size in sections:
        name = library[names_at + name_at : library.index(b"\0", names_at + name_at)]
        if name.startswith(b".debug") and kind == _PROGBITS and not flags & _LOADED:
            result[offset : offset + size] = bytes(size)
    return bytes(result)


def _bare(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            name: _bare(value)
            for name, value in node.items()
            if not (name == "documentation" and isinstance(value, str))
        }
    return [_bare(value) for value in node] if isinstance(node, list) else node


def compile_all(unpacked: Path) -> None:
    """Bytecode for everything, which Python takes as it is; of libraries nothing else. Raises ValueError.

    Our own sources stay, so that a traceback in the log shows the line.
    """
    own = {unpacked / "app.py", *(unpacked / "chalicelib").rglob("*.py")}
    for source in sorted(unpacked.rglob("*.py")):
        name = f"{LAMBDA_FOLDER}/{source.relative_to(unpacked).as_posix()}"
        target = (
            source.parent / "__pycache__" / f"{source.stem}.{_TAG}.pyc" if source in own else source.with_suffix(".pyc")
        )
        try:
            py_compile.compile(str(source), str(target), name, doraise=True, invalidation_mode=_UNCHECKED)
        except py_compile.PyCompileError as error:
            raise ValueError(f"{name} cannot be compiled: {error.msg}") from error
        if source not in own:
            source.unlink()


def check(unpacked: Path) -> None:
    """Raise ValueError unless everything that the program imports is there and can be imported."""
    absent = sorted(set(imported(unpacked)) - OPTIONAL - OPENSTACK - set(sys.stdlib_module_names) - present(unpacked))
    if absent:
        raise ValueError(f"Imported, but not in the package: {', '.join(absent)}. Is it in pyproject.toml?")
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); "
        "os.environ.update(MISTRAL_STAGE='package', MISTRAL_AUTH='api-key', AWS_DEFAULT_REGION='us-east-1'); "
        "import app; from botocore.session import Session; "
        "s3 = Session().create_client('s3', aws_access_key_id='a', aws_secret_access_key='b'); "
        "s3.generate_presigned_url('get_object', Params={'Bucket': 'bucket', 'Key': 'key'})"
    )
    # Neither the site-packages of this Python nor its environment: what is missing must be missed.
    command = [sys.executable, "-I", "-S", "-B", "-c", program, str(unpacked)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ValueError(f"The package cannot be imported: {ended.stderr.strip().splitlines()[-1]}")


def imported(unpacked: Path) -> Iterator[str]:
    """The packages that the program names in an import, wherever it stands."""
    for path in [unpacked / "app.py", *sorted((unpacked / "chalicelib").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                yield from (name.name.partition(".")[0] for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def present(unpacked: Path) -> set[str]:
    """The packages that can be imported."""
    return {path.name.partition(".")[0] for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}


def write(unpacked: Path, package: Path) -> None:
    """Everything in one archive, in order and without times: the same content gives the same bytes."""
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for path in sorted(path for path in unpacked.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(path.relative_to(unpacked).as_posix(), _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            made.writestr(info, path.read_bytes())
