"""`python -m triows`: the command, where no script is installed."""

import sys

from triows.cli import main

sys.exit(main())
