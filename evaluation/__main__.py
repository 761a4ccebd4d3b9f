"""`python -m evaluation job.json` scores a checkpoint; `python -m evaluation compare A B` compares two reports."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    if sys.argv[1:2] == ["compare"]:
        from evaluation.compare import main as compare

        return compare(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m evaluation", description=__doc__)
    parser.add_argument("job", type=Path, help="the job as JSON, or the word compare (see compare --help)")
    path = parser.parse_args().job
    from jobs.process import install

    stop = install()
    from evaluation import runner

    return runner.main(path, stop)


if __name__ == "__main__":
    sys.exit(main())
