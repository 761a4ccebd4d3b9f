"""`python -m training job.json`: do one training job and exit as `recipes.errors` says."""

import argparse
import sys
from pathlib import Path

from jobs.process import install


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("job", type=Path, help="a job file, as the graph writes it or written by hand")
    arguments = parser.parse_args()
    stop = install()
    from jobs import launching
    from training import runner

    return launching.said_status(lambda: runner.main(arguments.job, stop))


if __name__ == "__main__":
    sys.exit(main())
