"""What reuse saves: a small recipe end to end, then the same again.

`python -m benchmarks.reuse` prints on its last line a JSON object: `first_s` and `second_s`, wall seconds of
`temper run` on a tiny random model; `second_jobs_started`, training and evaluation processes
that the second run started.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import tiny
from tests.orchestration.project import Project


def main() -> None:
    with TemporaryDirectory() as folder:
        model = Path(folder) / "tiny-model"
        model.mkdir()
        tiny.write_checkpoint(model)
        project = Project(Path(folder) / "project", model)
        first, second = project.run(), project.run()
        print(second.printed)
    result = {
        "first_s": round(first.seconds, 1),
        "second_s": round(second.seconds, 1),
        "second_jobs_started": len(second.jobs),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
