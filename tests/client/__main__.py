"""Bring the table of docs/client.md up to date: ``python -m tests.client``."""

from pathlib import Path
from tempfile import TemporaryDirectory

import app
from tests.client.shell import Mistral
from tests.client.tour import PAGE, Tour, page_with, table
from tests.docs_service import serving

with TemporaryDirectory() as home, serving("--storage", "memory") as url:
    PAGE.write_text(page_with(table(Tour(Mistral(url, Path(home))).run(), app.app.routes)), "utf-8")
