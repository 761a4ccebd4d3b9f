"""Sends answers and rows that are programs to scorers of reasoning-gym; run as a process of its own.

`python hostile_answers.py FOLDER TASK…` prints each task when it is done. A scorer that runs what it was sent leaves
a file named after its task in FOLDER.
"""

import contextlib
import copy
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SECONDS = 2.0
"""For one answer; what takes longer is left, unless it is in C, where only the caller's deadline helps."""


class _Late(BaseException):
    pass


def _expressions(mark: Path) -> list[str]:
    """One deed in several spellings: scorers swap quotes, cut at spaces, or know some names only."""
    spelled, as_bytes = str(mark), f"bytes(({','.join(map(str, os.fsencode(mark)))},))"
    return [
        f"open({spelled!r},'w')",
        f'open("{spelled}","w")',
        f"open({as_bytes},chr(119))",
        f"__import__('pathlib').Path({spelled!r}).touch()",
        f"(lambda: open({spelled!r}, 'w'))()",
        f"'{{0}}'.format(open({spelled!r}, 'w'))",
        f'f\'{{open("{spelled}", "w")}}\'',
        f'exec(\'open("{spelled}", "w")\')',
        f"import os\nopen({spelled!r}, 'w')",
        f"!!python/object/apply:builtins.open [{spelled}, w]",
        f"$(touch {spelled})",
        f"; touch {spelled}",
    ]


_FORMS = (
    "{}",
    "[{}]",
    "[[{}]]",
    "({},)",
    "{{{}}}",
    '{{"a": {}}}',
    "\\boxed{{{}}}",
    "<answer>{}</answer>",
    "```python\n{}\n```",
    "The final answer is {}.",
    "Answer: {}",
    "${}$",
    "x = {}",
    "1 + {}",
    "{}\n{}",
)


def answers(mark: Path) -> Iterator[str]:
    for expression in _expressions(mark):
        for form in _FORMS:
            yield form.format(*[expression] * form.count("{}"))


def rows(entry: dict[str, Any], mark: Path) -> Iterator[dict[str, Any]]:
    """The entry with a program in the place of each of its texts, one at a time; of a list's elements the first."""
    for path in _texts(entry):
        for expression in _expressions(mark)[:4]:
            changed = copy.deepcopy(entry)
            place: Any = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = expression
            yield changed


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list) and value:
        yield from _texts(value[0], (*path, 0))


def _late(*_: Any) -> None:
    raise _Late


def _score(dataset: Any, answer: str, entry: dict[str, Any]) -> None:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        dataset.score_answer(answer, entry=entry)
    except (_Late, Exception):
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(folder: Path, tasks: list[str]) -> None:
    import reasoning_gym

    signal.signal(signal.SIGALRM, _late)
    for task in tasks:
        mark = folder / task
        with contextlib.redirect_stdout(sys.stderr):
            arguments = {"datasets": _countdown()} if task == "composite" else {}
            dataset = reasoning_gym.create_dataset(task, size=1, seed=1, **arguments)
            entry = json.loads(json.dumps(dataset[0], default=str))
            for answer in answers(mark):
                _score(dataset, answer, copy.deepcopy(entry))
            for changed in rows(entry, mark):
                _score(dataset, str(entry["answer"]), changed)
        print(task, flush=True)


def _countdown() -> list[Any]:
    from reasoning_gym.composite import DatasetSpec

    return [DatasetSpec("countdown", 1, {})]


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
