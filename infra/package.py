"""`python -m infra.package --stage STAGE`: the package and the template of a deployment, made by Chalice.

Chalice packages a copy of what runs in Lambda, merges `infra/resources.py` by the names of the stage, and what it has
made is tightened (`infra/archive.py`). Only the download of the requirements needs a network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from infra import archive, terraform
from infra.resources import template_for
from infra.roles import PREFIX, SECRETS, Names

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "deployment.zip"
SAM: Final = "sam.json"
_COPIED: Final = ("app.py", "chalicelib", ".chalice")
_NOT_COPIED: Final = shutil.ignore_patterns("__pycache__", "local", "deployments", "deployed", "venv")


def settings_of(stage: str, root: Path = ROOT) -> dict[str, str]:
    """The environment that `.chalice/config.json` gives a stage. Raises ValueError for one that it does not name."""
    config = json.loads((root / ".chalice" / "config.json").read_text("utf-8"))
    stages = config["stages"]
    if stage not in stages:
        raise ValueError(f".chalice/config.json has no stage {stage!r}, only {', '.join(stages)}.")
    environment: dict[str, str] = config.get("environment_variables", {}) | stages[stage].get(
        "environment_variables", {}
    )
    return environment


def names_of(stage: str, root: Path = ROOT) -> Names:
    """What the resources of a stage are called."""
    environment = settings_of(stage, root)
    webhook_secret = environment.get("MISTRAL_WEBHOOK_SECRET", "")
    return Names(
        prefix=environment.get("MISTRAL_TABLE_PREFIX", PREFIX),
        targets=tuple(name for name in environment.get("MISTRAL_TARGETS", "").split(",") if name),
        secrets=environment.get("MISTRAL_SECRET_PREFIX", SECRETS).partition("{")[0],
        webhook_secret=webhook_secret if webhook_secret.startswith("arn:") else "",
        generates_webhook_secret=not webhook_secret,
    )


def packaged(stage: str, region: str, target: Path, *, requirements: str, root: Path = ROOT) -> None:
    """The package as Chalice makes it, and the template, in a folder."""
    names = names_of(stage, root)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "project")
        project.mkdir()
        for name in _COPIED:
            source = root / name
            if source.is_dir():
                shutil.copytree(source, project / name, ignore=_NOT_COPIED)
            else:
                shutil.copy(source, project / name)
        (project / "requirements.txt").write_text(requirements, encoding="utf-8")
        merged = Path(scratch, "merged.json")
        merged.write_text(json.dumps(template_for(names)), encoding="utf-8")
        _chalice(project, stage, region, "--merge-template", str(merged), str(target))


def _chalice(project: Path, stage: str, region: str, *arguments: str) -> None:
    command = [sys.executable, "-c", "from chalice.cli import main; main()", "package", "--stage", stage, *arguments]
    environment = os.environ | {"AWS_DEFAULT_REGION": region, "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ValueError(f"chalice package failed: {ended.stderr.strip() or ended.stdout.strip()}")


def template(target: Path) -> dict[str, Any]:
    """The template that was packaged there."""
    made: dict[str, Any] = json.loads((target / SAM).read_text("utf-8"))
    return made


def main(arguments: list[str] | None = None) -> None:
    """Package, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description=__doc__)
    parser.add_argument("--stage", default="dev", help="a stage of .chalice/config.json (dev)")
    parser.add_argument("--region", default="us-east-1", help="where it will be deployed (us-east-1)")
    parser.add_argument("--requirements", type=Path, default=ROOT / "requirements.txt", help="as `make requirements`")
    parser.add_argument("--bytes-max", type=int, default=archive.BYTES_MAX, help="how large the package may be")
    parser.add_argument("--output", type=Path, help="a folder (dist/STAGE)")
    chosen = parser.parse_args(arguments)
    target = chosen.output or ROOT / "dist" / chosen.stage
    try:
        packaged(chosen.stage, chosen.region, target, requirements=chosen.requirements.read_text("utf-8"))
        with tempfile.TemporaryDirectory() as scratch:
            archive.tightened(target / PACKAGE, Path(scratch), chosen.bytes_max)
    except ValueError as error:
        parser.exit(1, f"package: {error}\n")
    stack = f"mistral-{chosen.stage}"
    module = terraform.write(template(target), target, stack=stack, region=chosen.region)
    size = (target / PACKAGE).stat().st_size
    print(f"{target / PACKAGE}: {size:,} bytes of {chosen.bytes_max:,}")
    print(f"{target / SAM}: the template for CloudFormation")
    print(f"{module}: the module for Terraform")


if __name__ == "__main__":
    main()
