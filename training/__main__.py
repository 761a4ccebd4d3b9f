"""`python -m training job.json`: do one training job and exit as `recipes.errors` says."""

import sys
from pathlib import Path

from jobs.process import install


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m training job.json", file=sys.stderr)
        return 2
    stop = install()
    from jobs import launching
    from training import runner

    return launching.said_status(lambda: runner.main(Path(sys.argv[1]), stop))


if __name__ == "__main__":
    sys.exit(main())
