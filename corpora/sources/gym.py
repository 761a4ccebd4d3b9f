"""Procedural problems with their verifier, from reasoning-gym: `gym://<task>?size=&seed=&split=&<argument>=`.

Train and held-out problems never meet, whatever the sizes, seeds and arguments of two recipes: which side a
problem is on is a property of its question alone (a tenth of all questions is held out). Every row carries the
task's name, its arguments and the whole entry, which is what the task's own verifier asks for.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import fingerprint, text_digest
from recipes.sources import Origin

_HELD_OUT_TENTHS = 1
_DRAWS_PER_PROBLEM = 20
"""Problems drawn at most for each one asked for, corrected for the split's share, before a task counts as too small."""


@dataclasses.dataclass(frozen=True)
class _Spec:
    task: str
    size: int
    seed: int
    split: str
    arguments: dict[str, Any]


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the task, its arguments and the library's version, which together fix every problem."""
    spec = dataclasses.asdict(_parse(origin.uri))
    return fingerprint({**spec, "reasoning_gym": importlib.metadata.version("reasoning-gym")})


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """One JSONL file of distinct problems: task, arguments, question, answer, entry. Raises CorpusError."""
    digest = observe(origin, folder, cache)
    spec = _parse(origin.uri)
    target = cache / "gym" / digest / f"{spec.task}.{spec.split}.jsonl"
    if not target.is_file():
        with atomically(target) as partial, partial.open("w", encoding="utf-8") as file:
            for row in _problems(origin.uri, spec):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return Fetched([RawFile(target.name, target)], digest)


def is_held_out(question: str) -> bool:
    """Whether a problem belongs to the held-out tenth; depends on nothing but its text."""
    return int(text_digest(question.strip())[:8], 16) % 10 < _HELD_OUT_TENTHS


def _problems(uri: str, spec: _Spec) -> Iterator[dict[str, Any]]:
    """`spec.size` distinct problems of the split, in the order they are drawn."""
    tenths = _HELD_OUT_TENTHS if spec.split == "held_out" else 10 - _HELD_OUT_TENTHS
    draws = max(1000, spec.size * _DRAWS_PER_PROBLEM * 10 // tenths)
    dataset = _dataset(uri, spec, draws)
    seen: set[str] = set()
    for index in range(draws):
        entry = dataset[index]
        question = entry["question"]
        if is_held_out(question) != (spec.split == "held_out") or question in seen:
            continue
        row = _row(uri, spec, entry)
        if not seen:
            _verifier_travels(uri, dataset, entry, row)
        seen.add(question)
        yield row
        if len(seen) == spec.size:
            return
    raise CorpusError(
        f"{uri}: {spec.task} has too few problems: {len(seen)} different ones of split '{spec.split}' "
        f"in {draws} draws, {spec.size} were asked for. Lower size, or widen the task's arguments"
    )


def _row(uri: str, spec: _Spec, entry: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(entry["answer"], str):
        raise CorpusError(f"{uri}: {spec.task} gives no written answers to learn from")
    try:
        plain = json.loads(json.dumps(entry))
    except TypeError as error:
        raise CorpusError(f"{uri}: entries of {spec.task} are not JSON ({error}); use another task") from None
    return {
        "task": spec.task,
        "arguments": spec.arguments,
        "question": entry["question"],
        "answer": entry["answer"],
        "entry": plain,
    }


def _verifier_travels(uri: str, dataset: Any, entry: dict[str, Any], row: dict[str, Any]) -> None:
    """The verifier must score the stored row as it scores the entry in memory."""
    stored = row["entry"]
    if dataset.score_answer(stored["answer"], entry=stored) != dataset.score_answer(entry["answer"], entry=entry):
        raise CorpusError(f"{uri}: {row['task']} cannot score entries read from a file; use another task")


def _dataset(uri: str, spec: _Spec, size: int) -> Any:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    known = {field.name for field in dataclasses.fields(DATASETS[spec.task][1])} - {"size", "seed"}
    unknown = sorted(set(spec.arguments) - known)
    if unknown:
        raise CorpusError(f"{uri}: {spec.task} takes no argument {unknown}; it takes {sorted(known)}")
    try:
        return reasoning_gym.create_dataset(spec.task, size=size, seed=spec.seed, **spec.arguments)
    except (AssertionError, TypeError, ValueError) as error:
        raise CorpusError(f"{uri}: {spec.task} refuses these arguments: {error}") from None


def _parse(uri: str) -> _Spec:
    task, _, query = uri.partition("://")[2].partition("?")
    given = dict(parse_qsl(query))
    return _Spec(
        task=task,
        size=int(given.pop("size")),
        seed=int(given.pop("seed")),
        split=given.pop("split", "train"),
        arguments={key: _value(text) for key, text in sorted(given.items())},
    )


def _value(text: str) -> Any:
    """Numbers, true, false and JSON lists as such, all else as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
