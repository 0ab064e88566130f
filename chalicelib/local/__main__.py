"""``python -m chalicelib.local``."""

import sys

from chalicelib.local.main import main

sys.exit(main())
