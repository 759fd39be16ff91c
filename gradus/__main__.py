"""`python -m gradus` is the `gradus` command."""

import sys

from gradus.cli.main import main

sys.exit(main())
