"""Bring the table of docs/client.md up to date: ``python -m tests.client``."""

from pathlib import Path
from tempfile import TemporaryDirectory

import app
from tests.client.tour import PAGE, page_with, table, touring

with TemporaryDirectory() as home, touring(Path(home)) as tour:
    PAGE.write_text(page_with(table(tour.run(), app.app.routes)), "utf-8")
