"""``python -m trimtab``: the command line."""

import sys

from trimtab.cli import main

sys.exit(main())
