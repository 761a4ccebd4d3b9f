"""Every evaluation item of a recipe's suite as a table of texts: what no training row may be a copy of.

All items of a task's data are taken, also those that a limit does not draw, so that another limit or seed changes
nothing. Which field of a row is the question follows from the kind of task, as in the evaluation itself. How items
are found in rows is left to `screen`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.formats.conversations import value_or_none
from corpora.reading.lines import BadRow, read_rows
from corpora.sources import fetch, observe
from corpora.tables.tables import writing
from lineage.errors import CorpusError
from recipes.sources import Columns
from recipes.suite import JudgedTask, Task

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1

NODE = "evaluation_items"
ITEMS = "items.parquet"

Fields = Mapping[str, Any]


def collect(tasks: Mapping[str, Task], folder: Path, cache: Path, work: Path) -> dict[str, Any]:
    """Write items.parquet into `work` and return the metrics. folder: the recipe's.

    Raises CorpusError if a task's data cannot be had, or a row holds no question: what is not known is not kept out.
    """
    counts: Counter[str] = Counter()
    with writing(work / ITEMS, items_schema()) as table:
        for name, task in sorted(tasks.items()):
            seen: set[tuple[str, ...]] = set()
            for texts in _questions(name, task, folder, cache):
                if tuple(texts.values()) in seen:
                    continue
                seen.add(tuple(texts.values()))
                for field, text in texts.items():
                    table.add(
                        {
                            "task": name,
                            "item": counts[name],
                            "field": field,
                            "text": text,
                            "generated": task.generated,
                            "sensitive": task.confidential,
                        }
                    )
                counts[name] += 1
    return {"items": counts.total(), "tasks": dict(sorted(counts.items()))}


def identity_of(tasks: Mapping[str, Task]) -> dict[str, Any]:
    """What of a suite decides its items: kinds of tasks, columns and whether texts may be shown."""
    return {
        name: {
            "kind": task.kind,
            "columns": task.columns.model_dump(mode="json") if hasattr(task, "columns") else {},
            "sensitive": task.confidential,
        }
        for name, task in tasks.items()
    }


def digests_of(tasks: Mapping[str, Task], folder: Path, cache: Path) -> dict[str, str]:
    """Digest of the data of each task, by the name of an input."""
    return {f"data/{name}": observe(task.data, folder, cache) for name, task in tasks.items()}


def payload_of(tasks: Mapping[str, Task], inputs: Mapping[str, str]) -> dict[str, Any]:
    """What identifies the items. inputs: as `digests_of` gives them."""
    return {"node": NODE, "version": VERSION, "config": identity_of(tasks), "inputs": dict(inputs)}


def items_schema() -> "pa.Schema":
    """`generated`: problems of a generator, whose neighbours differ by a number. `sensitive`: text never shown."""
    import pyarrow as pa

    return pa.schema(
        [
            ("task", pa.string()),
            ("item", pa.int64()),
            ("field", pa.string()),
            ("text", pa.string()),
            ("generated", pa.bool_()),
            ("sensitive", pa.bool_()),
        ]
    )


def _questions(name: str, task: Task, folder: Path, cache: Path) -> Iterator[dict[str, str]]:
    """The texts of each item by field, in the order of the data."""
    where = f"evaluation.tasks.{name}.data"
    for file in fetch(task.data, folder, cache).files:
        for row in read_rows(file):
            if isinstance(row, BadRow):
                raise CorpusError(f"{where}: {row.file}:{row.line}: {row.reason}; mend the row or take it out")
            if task.no_items is not None and row.value.get(task.no_items[0]) == task.no_items[1]:
                continue
            texts = _texts(task, row.value)
            if not texts:
                raise CorpusError(f"{where}: {row.file}:{row.line}: no question in it; see the task's columns")
            yield texts


def _texts(task: Task, row: Fields) -> dict[str, str]:
    """An item's texts by field, none if a field is missing or empty."""
    if isinstance(task, JudgedTask):
        return _turns(task, row)
    field = _question_field(task, row)
    text = _text(row, field)
    if not task.choices and not task.choice_list:
        return {field: text} if text else {}
    listed = value_or_none(row, task.choice_list)
    choices = listed if isinstance(listed, list) else [_text(row, name) for name in task.choices or ("",)]
    parts = [text, *(choice.strip() if isinstance(choice, str) else "" for choice in choices)]
    return {field: text, f"{field}_and_choices": "\n".join(parts)} if all(parts) else {}


def _turns(task: JudgedTask, row: Fields) -> dict[str, str]:
    """A judged item's requests, one or several."""
    found: dict[str, str] = {}
    while text := _text(row, f"{task.columns.turns}.{len(found)}"):
        found[f"{task.columns.turns}.{len(found)}"] = text
    if not found and (text := _text(row, task.columns.prompt)):
        return {task.columns.prompt: text}
    return found


def _question_field(task: Task, row: Fields) -> str:
    columns = getattr(task, "columns", None)
    if isinstance(columns, Columns) and (named := columns.prompt or columns.text):
        return named
    fields = task.question or (("text",) if "text" in row else ("prompt",))
    return next((field for field in fields if value_or_none(row, field) is not None), fields[0])


def _text(row: Fields, path: str) -> str:
    """The text at a dotted path, of a list of messages their words; empty if there is none."""
    value = value_or_none(row, path)
    if isinstance(value, list):
        said = [message["content"] for message in value if isinstance(message, dict) and "content" in message]
        value = "\n".join(content for content in said if isinstance(content, str))
    return value.strip() if isinstance(value, str) else ""
