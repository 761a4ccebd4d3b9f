"""`python -m evaluation job.json`: score one checkpoint and exit as `jobs.job` says."""

import sys
from pathlib import Path

from jobs.process import install


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m evaluation job.json", file=sys.stderr)
        return 2
    stop = install()
    from evaluation import runner

    return runner.main(Path(sys.argv[1]), stop)


if __name__ == "__main__":
    sys.exit(main())
