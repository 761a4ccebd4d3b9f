"""A program passes by what its functions return, and by nothing else that it does."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.tasks import calls, code, sandbox
from lineage.errors import EvaluationError

LIMITS = sandbox.Limits(seconds=2, memory_mb=256)


def _available() -> bool:
    try:
        sandbox.probe(LIMITS)
    except EvaluationError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(not _available(), reason="no sandbox can be made on this machine")

PROMPT = 'def add(a, b):\n    """Add."""\n'
EACH = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4\n"
MAPPED = "def check(candidate):\n    assert all(map(lambda b: candidate(1, b) == 1 + b, [1, 2, 3]))\n"
RAISES = "def check(candidate):\n    try: candidate(1, None)\n    except Exception: return\n    assert False\n"
WRONG = "    return 0\n"


def ended(answer: str, test: str = EACH, prompt: str = PROMPT, entry_point: str = "add") -> sandbox.Ended:
    item = {"task_id": "own/0", "prompt": prompt, "test": test, "entry_point": entry_point}
    return sandbox.run(code.program_of(item, answer), LIMITS)


FORGED = {
    "a token in its own file": (
        f"{WRONG}import os, re\ntoken = re.search(r\"b'([0-9a-f]{{32}})'\", open(__file__).read())[1]\n"
        "os.write(3, token.encode()); os._exit(0)\n",
        EACH,
    ),
    "a token in the code that called it": (
        "    import os, sys\n    frame = sys._getframe()\n    while frame:\n"
        "        for found in frame.f_code.co_consts:\n"
        "            if isinstance(found, bytes) and len(found) == 32: os.write(3, found); os._exit(0)\n"
        "        frame = frame.f_back\n    return 0\n",
        EACH,
    ),
    "values that it should find, in the code that called it": (
        "    import sys\n    found = [n for n in sys._getframe(1).f_code.co_consts if isinstance(n, int) and n > b]\n"
        "    return found[a - 1]\n",
        EACH,
    ),
    "every descriptor written": (
        f"{WRONG}import os\nfor number in range(64):\n    try: os.write(number, b'passed\\n[1, {{}}]\\n')\n"
        "    except OSError: pass\n",
        EACH,
    ),
    "an object that equals everything": (
        "    return type('Any', (), {'__eq__': lambda *_: True, '__hash__': lambda _: 0})()\n",
        EACH,
    ),
    "a number that equals everything": ("    return type('Any', (int,), {'__eq__': lambda *_: True})(7)\n", EACH),
    "a process that ends well in a call": ("    import os\n    os._exit(0)\n", EACH),
    "an interpreter that ends well in a call": ("    import sys\n    sys.exit(0)\n", EACH),
    "the end of a test's loop": ("    raise StopIteration\n", MAPPED),
    "a death that the tests take for an error": ("    import os\n    os._exit(0)\n", RAISES),
    "no such function": (f"{WRONG}del add\n", RAISES),
    "its own check": (f"{WRONG}def check(candidate): pass\n", "def checks(candidate):\n    assert False\n"),
    "answers to the next calls": (
        "    import os\n    for number in range(9):\n"
        '        os.write(4, b\'[%d, {"value": 3, "left": [[], {}]}]\\n\' % number)\n    return 3\n',
        EACH,
    ),
}


@needs_sandbox
@pytest.mark.parametrize(("answer", "test"), FORGED.values(), ids=list(FORGED))
def test_a_verdict_cannot_be_forged(answer: str, test: str) -> None:
    assert ended(answer, test) != "passed"
    assert ended("    return a + b\n", EACH) == "passed"


@needs_sandbox
def test_a_program_does_not_see_its_tests() -> None:
    looks = (
        "    import os\n    files = {name: open('/scratch/' + name).read() for name in os.listdir('/scratch')}\n"
        "    return [name for name, text in files.items() if 'candidate' in text]\n"
    )
    test = "def check(candidate):\n    assert candidate(0, 0) == ['program.py']\n"
    assert ended(looks, test) == "passed"


KEPT = {
    "arguments by name": ("    return a - b\n", "assert candidate(b=1, a=3) == 2"),
    "arguments changed in place": (
        "    a.append(b); a[0].add(b); a[1]['k'].pop()\n",
        "inner = {1}; a = [inner, {'k': [1, 2]}]; candidate(a, 5); "
        "assert a == [{1, 5}, {'k': [1]}, 5] and inner == {1, 5}",
    ),
    "errors by their names": (
        "    return [][b]\n",
        "try:\n        candidate(1, 0)\n    except IndexError as error:\n        assert 'range' in str(error)\n"
        "    else:\n        assert False",
    ),
    "errors of a class of its own": (
        "    class Mine(KeyError): pass\n    raise Mine('x')\n",
        "try:\n        candidate(1, 0)\n    except LookupError:\n        return\n    assert False",
    ),
    "errors that are made of more than a text": (
        "    return b'\\xff'.decode()\n",
        "try:\n        candidate(1, 0)\n    except ValueError:\n        return\n    assert False",
    ),
    "exact types": (
        "    return [a, b, True, None, 1j, b'x', (1,), {2}, range(3), {(1, 2): 'ä\\ud800'}, 10 ** 5000]\n",
        "found = candidate(1.5, -0.0)\n    assert found == [1.5, -0.0, True, None, 1j, b'x', (1,), {2}, range(3), "
        "{(1, 2): 'ä\\ud800'}, 10 ** 5000]\n    assert found[2] is True and str(found[1]) == '-0.0'",
    ),
    "what a subclass is a kind of": (
        "    import collections\n    return collections.Counter('aab'), collections.namedtuple('P', 'x')(1)\n",
        "assert candidate(0, 0) == ({'a': 2, 'b': 1}, (1,))",
    ),
    "a state between calls": (
        "    add.seen = getattr(add, 'seen', 0) + 1; return add.seen\n",
        "assert [candidate(0, 0), candidate(0, 0)] == [1, 2]",
    ),
    "the function by its own name": ("    return a + b\n", "assert candidate(1, 1) == add(1, 1) == 2"),
}


@needs_sandbox
@pytest.mark.parametrize(("answer", "body"), KEPT.values(), ids=list(KEPT))
def test_what_tests_ask_of_a_function_is_the_same_from_afar(answer: str, body: str) -> None:
    test = f"def check(candidate):\n    {body}\n"
    assert ended(answer, test) == "passed"
    assert ended(WRONG, test) == "failed"


@needs_sandbox
def test_helpers_that_were_given_are_the_tests_own_and_others_the_programs() -> None:
    prompt = 'import math\n\ndef twice(x):\n    return 2 * x\n\ndef add(a, b):\n    """Add."""\n'
    test = "def check(candidate):\n    assert math.isclose(candidate(1, 2), 3) and twice(2) == 4 and thrice(2) == 6\n"
    program = "    return a + b\nthrice = lambda x: 3 * x\n"
    assert ended(program, test, prompt) == "passed"
    assert ended(f"{program}twice = lambda x: 5\n", test, prompt) == "passed"
    assert ended(f"{program}thrice = lambda x: 5\n", test, prompt) == "failed"
    assert ended("    return a + b\n", EACH, "def add(a, b):\n") == "passed"


FOREIGN = {
    "a generator": ("    yield a\n", "assert list(candidate(1, 2)) == [1]"),
    "a function": ("    return lambda: 3\n", "assert candidate(1, 2)() == 3"),
    "an object": ("    return type('Point', (), {'x': 3})()\n", "assert candidate(1, 2).x == 3"),
    "a list in itself": ("    a = [b]; a.append(a); return a\n", "assert candidate(1, 2)[0] == 2"),
    "a function as an argument": ("    return a(b)\n", "assert candidate(abs, -2) == 2"),
}


@needs_sandbox
@pytest.mark.parametrize(("answer", "body"), FOREIGN.values(), ids=list(FOREIGN))
def test_what_is_no_plain_data_is_told_from_a_wrong_answer(answer: str, body: str) -> None:
    assert ended(answer, f"def check(candidate):\n    {body}\n") == "foreign"


@needs_sandbox
@pytest.mark.parametrize("answer", ["    while True: pass\n", f"{WRONG}while True: pass\n"], ids=["call", "program"])
def test_time_that_is_over_is_told_from_a_wrong_answer(answer: str) -> None:
    assert ended(answer) == "stopped"


_KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
_VALUES = st.recursive(
    _KEYS | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(_KEYS)
        | st.frozensets(_KEYS)
        | st.dictionaries(st.one_of(_KEYS, st.tuples(_KEYS)), inner)
    ),
    max_leaves=12,
)


def _typed(value: Any) -> Any:
    """The value with all of its types, which == does not look at."""
    if isinstance(value, dict):
        return dict, [(_typed(key), _typed(inner)) for key, inner in value.items()]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    if isinstance(value, list | tuple):
        return type(value), list(map(_typed, value))
    return type(value), repr(value)


@given(_VALUES)
def test_plain_values_cross_unchanged(value: Any) -> None:
    assert _typed(calls.decoded(json.loads(json.dumps(calls.encoded(value))))) == _typed(value)


def test_no_number_crosses_as_no_number() -> None:
    assert math.isnan(calls.decoded(calls.encoded(math.nan)))
