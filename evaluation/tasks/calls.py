"""Calls between a program that a model wrote and the tests that judge it, in two sandboxes that share nothing else.

A script of the standard library alone; `sandbox` puts it into both. As `serve` it runs the program and then does the
calls that come in, one after the other. As `judge` it runs the tests, in which the program's functions stand for
calls, and says at the end that they passed: so what a program does to its own interpreter changes no verdict.

What crosses is JSON that spells exact builtin types: None, bool, int, float, complex, str, bytes, range, and lists,
tuples, sets, frozensets and dicts of them; a subclass crosses as what it is a kind of. Arguments come back with what
the call made of them; what a call raised comes as the nearest builtin exception. Anything else has no way across, and
an item whose tests need one fails.
"""

import builtins
import contextlib
import json
import os
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

PROGRAM, TESTS, GIVEN = "/scratch/program.py", "/scratch/tests.py", "/scratch/given.py"
FOREIGN = "foreign"
"""Said in the place of the token where something had no way across."""

_PLAIN = (bool, int, float, str)
_SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Foreign(Exception):
    """A value that has no way across."""


def encoded(value: Any) -> Any:
    """A value as JSON. Raises Foreign."""
    if value is None or type(value) in _PLAIN:
        return value
    for plain in _PLAIN:
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, dict):
        return {"dict": [[encoded(key), encoded(inner)] for key, inner in dict.items(value)]}
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [encoded(inner) for inner in value]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    raise Foreign(type(value).__name__)


def decoded(spelled: Any) -> Any:
    """The value again. Raises ValueError, or what else comes of JSON that no `encoded` made."""
    if not isinstance(spelled, dict):
        return spelled
    ((name, inner),) = spelled.items()
    if name == "dict":
        return {decoded(key): decoded(value) for key, value in inner}
    if name == "bytes":
        return bytes.fromhex(inner)
    if name == "complex":
        return complex(*map(float, inner))
    if name == "range":
        return range(*inner)
    return _SEQUENCES[name](map(decoded, inner))


def serve(entry_point: str) -> None:
    """Run the program as `__main__` and do calls, which come in as lines on 3 and are answered as lines on 4."""
    asked, said = os.fdopen(3, "rb"), os.fdopen(4, "wb", buffering=0)
    module = types.ModuleType("__main__")
    module.__file__ = PROGRAM
    sys.modules["__main__"] = module
    with open(PROGRAM, encoding="utf-8") as file:
        exec(compile(file.read(), PROGRAM, "exec"), module.__dict__)  # noqa: S102 - it is what the sandbox is for
    if entry_point and not hasattr(module, entry_point):
        return
    said.write(b"\n")
    for line in asked:
        number, name, arguments, named = json.loads(line)
        said.write(json.dumps([number, _done(module, name, decoded(arguments), decoded(named))]).encode() + b"\n")


def _done(module: types.ModuleType, name: str, arguments: list[Any], named: dict[str, Any]) -> dict[str, Any]:
    """What came of a call."""
    try:
        value = getattr(module, name)(*arguments, **named)
    except Exception as error:
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "said": str(error)}
    try:
        return {"value": encoded(value), "left": encoded([arguments, named])}
    except (Foreign, RecursionError):
        return {FOREIGN: True}


class Calls:
    """The program's side, as the tests see it. Lines go out on 5 and come in on 4; the verdict goes out on 3."""

    def __init__(self) -> None:
        self._asked, self._said = os.fdopen(5, "wb", buffering=0), os.fdopen(4, "rb")
        self._number = 0
        if self._said.readline() != b"\n":
            _end("the program did not come to its end")

    def call(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The value of a call. Raises what it raised, as a builtin exception; ends this process if there is none."""
        self._number += 1
        try:
            line = json.dumps([self._number, name, encoded(list(arguments)), encoded(named)])
            self._asked.write(line.encode() + b"\n")
            number, answer = json.loads(self._said.readline())
            if number != self._number:
                _end("an answer to another call")
            if FOREIGN in answer:
                _end(FOREIGN)
            if "raised" not in answer:
                value, (left, left_named) = decoded(answer["value"]), decoded(answer["left"])
                for before, after in zip([*arguments, *named.values()], [*left, *left_named.values()], strict=True):
                    _follow(before, after)
                return value
            raised = _exception(answer["raised"], answer["said"])
        except Foreign:
            _end(FOREIGN)
        except Exception as error:  # the tests must not take it for one of the program's
            _end(f"no answer to a call: {type(error).__name__}")
        raise raised


def _exception(names: list[str], said: str) -> Exception:
    """The first builtin one. StopIteration would end the loop of a test as if there were no more to be tested."""
    for kind in (getattr(builtins, name, None) for name in names):
        if isinstance(kind, type) and issubclass(kind, Exception):
            if issubclass(kind, StopIteration | StopAsyncIteration):
                break
            with contextlib.suppress(TypeError):  # some are made of more than a text
                return kind(said)
    return RuntimeError(said)


def _follow(before: Any, after: Any) -> Any:
    """Make an argument what the call left of it; what was not changed in place is `after`."""
    if type(before) is not type(after):
        return after
    if isinstance(before, list):
        kept = [_follow(*pair) for pair in zip(before, after, strict=False)]
        before[:] = kept + after[len(kept) :]
    elif isinstance(before, dict):
        merged = {key: _follow(before[key], value) if key in before else value for key, value in after.items()}
        before.clear()
        before.update(merged)
    elif isinstance(before, set):
        before.intersection_update(after)
        before.update(after)
    else:
        return after
    return before


class Called:
    """A function of the program."""

    def __init__(self, calls: Calls, name: str) -> None:
        self._calls, self.__name__ = calls, name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._calls.call(self.__name__, arguments, named)


class Names(dict[str, Any]):
    """The tests' globals: a name that neither they nor Python know is a function of the program."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(__name__="__main__")
        self._calls = calls

    def __missing__(self, name: str) -> Any:
        if name.startswith("__") or hasattr(builtins, name):
            raise KeyError(name)
        return Called(self._calls, name)


def judge(entry_point: str, token: str) -> None:
    """Run what was given to the model, for the helpers in it, and the tests; write the token if they pass."""
    calls = Calls()
    names = Names(calls)
    _run_given(names)
    if entry_point:
        names[entry_point] = Called(calls, entry_point)
    with open(TESTS, encoding="utf-8") as file:
        exec(compile(file.read(), TESTS, "exec"), names)  # noqa: S102
    if entry_point:
        check: Callable[[Any], object] = dict.__getitem__(names, "check")
        check(names[entry_point])
    os.write(3, token.encode())


def _run_given(names: Names) -> None:
    """A function's head with a description is a function; one without gets an empty body."""
    with open(GIVEN, encoding="utf-8") as file:
        given = file.read()
    for text in (given, f"{given}\n    pass\n"):
        with contextlib.suppress(SyntaxError):
            exec(compile(text, GIVEN, "exec"), names)  # noqa: S102
            return


def _end(reason: str) -> NoReturn:
    os.write(3, reason.encode())
    os._exit(1)


if __name__ == "__main__":
    sys.set_int_max_str_digits(0)
    if sys.argv[1] == "serve":
        serve(*sys.argv[2:])
    else:
        judge(*sys.argv[2:])
