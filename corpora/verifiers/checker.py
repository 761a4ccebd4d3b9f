"""Checks answers in a process of its own; a script, started by `checked` with the name of one of `_CHECKS`.

It reads lists of requests from its standard input, one JSON a line, and writes a line for each request:
`{"result": …}`, or `{"failed": …}` with the name of the error that the check ended with. The first line says that it is
ready, or why it never will be.
Checks are other people's code on text that nobody vouches for. So each has some seconds of CPU time, after which the
kernel ends this process, even within one long operation in C; memory is limited, and no file can be written. When
nobody is there any more who asks, it ends.
"""

import contextlib
import json
import math
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

_MEMORY = 2 << 30
"""Bytes of address space beyond what the libraries took."""


def main(check: str, seconds: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the process that asks is told too, and may still need an answer
    asked, said = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)  # libraries print
    try:
        result_of = _CHECKS[check]()
    except Exception as error:
        said.write(_line({"failed": f"{type(error).__name__}: {error}"}))
        return
    _limit_files_and_memory()
    said.write(_line({"result": "ready"}))
    for line in asked:
        for request in json.loads(line):
            _limit_time(seconds)
            try:
                reply = _line({"result": result_of(request)})
            except (Exception, SystemExit) as error:
                reply = _line({"failed": type(error).__name__})
            said.write(reply)


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _gym() -> Callable[[Any], float]:
    import reasoning_gym

    @lru_cache(maxsize=64)
    def verifier(task: str, arguments: str) -> Any:
        return reasoning_gym.create_dataset(task, size=1, seed=0, **json.loads(arguments))

    def score(asked: Any) -> float:
        chosen = verifier(asked["task"], json.dumps(asked["arguments"], sort_keys=True))
        return float(chosen.score_answer(asked["answer"].strip(), entry=asked["entry"]))

    return score


def _instructions() -> Callable[[Any], list[bool]]:
    from langdetect import DetectorFactory
    from lm_eval.tasks.ifeval.utils import InputExample, test_instruction_following_strict

    DetectorFactory.seed = 0

    def followed(asked: Any) -> list[bool]:
        example = InputExample(0, asked["instruction_id_list"], asked["prompt"], asked["kwargs"])
        return [
            bool(one) for one in test_instruction_following_strict(example, asked["answer"]).follow_instruction_list
        ]

    return followed


def _pattern() -> Callable[[Any], bool]:
    return lambda asked: re.fullmatch(asked["pattern"], asked["answer"].strip()) is not None


_CHECKS: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "gym": _gym,
    "instructions": _instructions,
    "pattern": _pattern,
}


def _limit_files_and_memory() -> None:
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc, or no such limit
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY)


def _limit_time(seconds: int) -> None:
    _lower(resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds)


def _lower(limit: int, value: int) -> None:
    _, most = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if most == resource.RLIM_INFINITY else min(value, most), most))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
