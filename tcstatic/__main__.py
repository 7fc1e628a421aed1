"""``python -m tcstatic``."""

import sys

from tcstatic.cli import main

if __name__ == "__main__":
    sys.exit(main())
