"""What reuse saves: a small recipe of every kind of stage end to end, then the same again.

`python -m benchmarks.reuse` prints on its last line a JSON object: `first_s` and `second_s`, wall seconds of
`temper run`; `second_jobs_started`, training and evaluation processes that the second run started.
"""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import small


def main() -> None:
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        recipe = small.write_recipe(Path(folder) / "recipe")
        began = time.monotonic()
        small.run(recipe, home)
        first, jobs = time.monotonic(), _job_files(home)
        print(small.run(recipe, home))
        second = time.monotonic()
        started = sum(jobs.get(path) != written for path, written in _job_files(home).items())
    result = {
        "first_s": round(first - began, 1),
        "second_s": round(second - first, 1),
        "second_jobs_started": started,
    }
    print(json.dumps(result))


def _job_files(home: Path) -> dict[Path, int]:
    """Every job that was ever started, with when that was last."""
    return {path: path.stat().st_mtime_ns for path in home.glob("objects/**/*.job.json")}


if __name__ == "__main__":
    main()
