"""The command line as ``python -m meshconv``."""

import sys

from meshconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
