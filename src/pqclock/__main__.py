"""`python -m pqclock` is the command `pqclock`."""

import sys

from pqclock.cli import main

sys.exit(main())
