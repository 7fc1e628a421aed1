"""``python -m tcstatic``."""

import os
import sys

# Python has put the user's folder here; a click.py or json.py in it must not stand for ours. From a
# folder of programs nothing can be imported; it is what the command `tcstatic` has in this place.
if not sys.flags.safe_path:
    sys.path[0] = os.path.dirname(sys.executable)

from tcstatic.cli import main

if __name__ == "__main__":
    sys.exit(main())
