"""`python -m evaluation job.json`: score one checkpoint and exit as `jobs.job` says."""

import sys
from pathlib import Path

from jobs.process import install


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m evaluation job.json", file=sys.stderr)
        return 2
    path, stop = Path(sys.argv[1]), install()
    from evaluation.runner import run
    from jobs.job import Job
    from recipes.errors import REFUSED

    try:
        job = Job.read(path)
    except (OSError, ValueError) as error:
        print(f"{path}: not a job: {error}", file=sys.stderr)
        return REFUSED
    return run(job, stop)


if __name__ == "__main__":
    sys.exit(main())
