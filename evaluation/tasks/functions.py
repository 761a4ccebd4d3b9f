"""Function calling, as the Berkeley Function-Calling Leaderboard asks for it (Patil et al. 2025): are the calls in an
answer exactly the right ones?

Functions are given to the model in its chat template's own tool form. Calls are read back as JSON objects with a
`name` and `arguments` (or `parameters`), wherever they stand in the answer: as Hermes, Qwen, Llama 3, Mistral and
SmolLM templates write them. That a template writes calls in such a form is tried on a call of our own before anything
is generated.

The rule is BFCL's for Python: as many calls as expected, in any order; each with the right name, all required
arguments, no argument that is not expected, and each value one of those allowed, where "" among them means that the
argument may be left out. Texts are compared without case, blanks and `,./-_*^`; numbers by value; true and false are
no numbers. An item without expected calls (BFCL's irrelevance) is answered by no call at all.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks.answers import outcome
from evaluation.tasks.packaged import list_of, texts_of
from lineage.errors import EvaluationError
from lineage.hashing import text_digest
from models.answering import LoadedModel, Tick, generate
from recipes.suite import FunctionsTask

_ROLES = ("system", "user", "assistant")
_JSON_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""BFCL's names of types that JSON Schema calls otherwise."""

_IGNORED = re.compile(r"[ ,./\-_*^]")
_DECODER = json.JSONDecoder()
_PROBE = {"name": "probe_function", "arguments": {"probe_key": "probe value"}}


@dataclass(frozen=True)
class Functions:
    """Drawn requests: {id, messages, functions, expected}."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    max_new_tokens: int
    unit: str = "requests"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        _refuse_other_forms(model)
        prompts = [model.render(item["messages"], json.dumps(item["functions"])) for item in self.items]
        responses = generate(model, prompts, self.max_new_tokens, tick)
        called = [calls_in(response.text) for response in responses]
        scored = (
            {
                "task": self.name,
                "metric": "accuracy",
                "score": float(are_right(calls, item["expected"])),
                "higher_is_better": True,
                "subgroup": _category(item["id"]),
                "prompt": item["messages"][-1]["content"],
                "target": json.dumps(item["expected"], ensure_ascii=False),
                "question_hash": text_digest("\n".join(said["content"] for said in item["messages"]).strip()),
            }
            for item, calls in zip(self.items, called, strict=True)
        )
        details = {"answers without a call": sum(not calls for calls in called)}
        return outcome(self.items, prompts, responses, scored, details=details)


def prepare(name: str, task: FunctionsTask, place: Place) -> Functions:
    """Read, check and draw the requests. Raises EvaluationError that names the row and the field."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    facts: dict[str, Any] = {"data_digest": rows.digest}
    expected: dict[str, Any] = {}
    if task.answers is not None:
        answers = read_rows(f"{where}.answers", task.answers, place)
        facts["answers_digest"] = answers.digest
        for index, row in enumerate(answers.rows, start=1):
            if not isinstance(row.get("id"), str) or "ground_truth" not in row:
                raise EvaluationError(f"{where}.answers: row {index}: expected fields id and ground_truth")
            expected[row["id"]] = row["ground_truth"]
    items = []
    for index, row in enumerate(rows.rows, start=1):
        try:
            items.append(_request(row, expected if task.answers is not None else None))
        except ValueError as error:
            raise EvaluationError(f"{where}.data: row {index}: {error}") from None
    facts |= {
        "duplicates": rows.duplicates,
        "harness": "functions",
        "prompts": "chat template with its own form of tools, greedy answer",
    }
    return Functions(name, draw(where, items, task.limit, task.sample_seed), facts, task.max_new_tokens)


def calls_in(answer: str) -> list[dict[str, Any]]:
    """The calls that an answer makes, as {name, arguments}, in its order."""
    calls: list[dict[str, Any]] = []
    place = answer.find("{")
    while place >= 0:
        try:
            value, end = _DECODER.raw_decode(answer, place)
        except (ValueError, RecursionError):
            value, end = None, place + 1
        found = list(_calls(value))
        calls += found
        place = answer.find("{", end if found else place + 1)
    return calls


def _calls(value: Any) -> Iterator[dict[str, Any]]:
    """What a JSON object says of a call, if it is one; a call's arguments may be JSON in a text."""
    if not isinstance(value, dict):
        return
    if isinstance(value.get("function"), dict):
        value = value["function"]
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return
    if isinstance(value.get("name"), str) and isinstance(arguments, dict):
        yield {"name": value["name"], "arguments": arguments}


def are_right(calls: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Mapping[str, Any]]]) -> bool:
    """Whether the calls are the expected ones, each once. expected: {function: {argument: allowed values}}."""
    if len(calls) != len(expected):
        return False
    left = list(expected)
    for call in calls:
        match = next((one for one in left if _is(call, one)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _is(call: Mapping[str, Any], expected: Mapping[str, Mapping[str, Any]]) -> bool:
    ((name, allowed),) = expected.items()
    return call["name"] == name and _arguments_are(call["arguments"], allowed)


def _arguments_are(given: Mapping[str, Any], allowed: Mapping[str, Sequence[Any]]) -> bool:
    if not set(given) <= set(allowed):
        return False
    if any("" not in values for name, values in allowed.items() if name not in given):
        return False
    return all(any(_equal(value, one) for one in allowed[name]) for name, value in given.items())


def _equal(given: Any, allowed: Any) -> bool:
    """Whether a value is an allowed one. An object's allowed values are lists again."""
    if isinstance(given, bool) or isinstance(allowed, bool) or given is None or allowed is None:
        return given is allowed
    if isinstance(given, str) and isinstance(allowed, str):
        return _plain(given) == _plain(allowed)
    if isinstance(given, list) and isinstance(allowed, list):
        return len(given) == len(allowed) and all(map(_equal, given, allowed))
    if isinstance(given, dict) and isinstance(allowed, dict):
        return _arguments_are(given, {name: v if isinstance(v, list) else [v] for name, v in allowed.items()})
    return isinstance(given, int | float) and isinstance(allowed, int | float) and given == allowed


def _plain(text: str) -> str:
    return _IGNORED.sub("", text).lower().replace("'", '"')


def _request(row: Mapping[str, Any], answers: Mapping[str, Any] | None) -> dict[str, Any]:
    """The item of a row. Raises ValueError that names the field."""
    (key,) = texts_of(row, "id")
    turns = list_of(row, "question", list)
    if len(turns) > 1:
        raise ValueError("expected one turn in field 'question'; requests of several turns are not scored")
    messages = []
    for message in turns[0]:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise ValueError(f"expected messages of role {', '.join(_ROLES)} in field 'question'")
        messages.append({"role": message["role"], "content": texts_of(message, "content")[0]})
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("expected a message of the user at the end of field 'question'")
    functions = [_schema(function) for function in list_of(row, "function", dict)]
    for function in functions:
        texts_of(function, "name")
    expected = row.get("ground_truth") if answers is None else answers.get(key)
    if expected is None and "irrelevance" in _category(key):
        expected = []  # BFCL has no answers where no function helps
    if not isinstance(expected, list) or not all(_is_expected(one) for one in expected):
        where = "field 'ground_truth'" if answers is None else f"the answer of id '{key}'"
        raise ValueError(f"expected a list of {{function: {{argument: [allowed values]}}}} in {where}")
    return {"id": key, "messages": messages, "functions": functions, "expected": expected}


def _is_expected(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and len(one) == 1
        and all(isinstance(a, dict) and all(isinstance(v, list) for v in a.values()) for a in one.values())
    )


def _schema(value: Any) -> Any:
    """A function's description with the names of types that JSON Schema has."""
    if isinstance(value, dict):
        return {
            key: _JSON_TYPES.get(inner, inner) if key == "type" and isinstance(inner, str) else _schema(inner)
            for key, inner in value.items()
        }
    return [_schema(inner) for inner in value] if isinstance(value, list) else value


def _category(key: str) -> str:
    """BFCL's category: an id without its number."""
    return re.sub(r"[_-]\d+(-\d+)*$", "", key)


def _refuse_other_forms(model: LoadedModel) -> None:
    """Raise EvaluationError if the chat template cannot express functions, or writes calls in another form."""
    template = model.template
    if template.tools_problem is not None:
        raise EvaluationError(f"function calls need a chat template with tools: {template.tools_problem}")
    asked = [{"role": "user", "content": "probe"}]
    answer = {"role": "assistant", "content": "", "tool_calls": json.dumps([_PROBE])}
    written = template.render([*asked, answer]).removeprefix(template.render(asked))
    visible = model.tokenizer.decode(template.tokenise(written), skip_special_tokens=True)
    if calls_in(visible) != [_PROBE]:
        raise EvaluationError(
            "function calls are read as JSON objects with name and arguments, and this checkpoint's chat template "
            "writes them otherwise; give another one in model.chat_template"
        )
