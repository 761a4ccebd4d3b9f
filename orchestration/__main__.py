"""`python -m orchestration` is `temper`, also where it is not installed."""

import sys

from orchestration.command import main

if __name__ == "__main__":
    sys.exit(main())
