"""What an answer costs a model with its prompt and without it: mean losses over the tokens that training counts.

With its prompt a conversation is read once, as in training. Without it each answer is read alone, behind nothing but
the header that invites the assistant to speak; so all work is linear in the tokens of a row. Both count the same
tokens. Weights and sums are float32, and on a CPU a process uses one thread: the losses are the same bytes whichever
process scores a row, and however many work at it. Only processes that score load torch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lineage.errors import CorpusError
from lineage.files import atomically
from models import load
from models.likelihood import token_losses
from models.messages import Message
from models.rendering import Encoded
from models.template import ChatTemplate

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("id", "messages", "tools", "prompt", "chosen", "completion", "answers")

_SLOTS = {"cpu": 1 << 12, "cuda": 1 << 15}
"""Tokens of a batch, pads included."""
_LOGITS = {"cpu": 1 << 26, "cuda": 1 << 29}
"""Logits of a batch, 4 bytes each; a text with more is a batch by itself."""


class Rows(NamedTuple):
    """Rows `start` to `stop` of a row group."""

    table: Path
    group: int
    start: int
    stop: int

    def read(self) -> list[dict[str, Any]]:
        """Those columns that an answer and its prompt lie in."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.table) as file:
            columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
            read = file.read_row_group(self.group, columns=columns).slice(self.start, self.stop - self.start)
        rows: list[dict[str, Any]] = read.to_pylist()
        return rows


class Scoring(NamedTuple):
    """One task: rows, whose weights score them, and the file for their losses. max_length: most tokens of a row."""

    rows: Rows
    checkpoint: Path
    max_length: int
    losses: Path


class Losses(NamedTuple):
    """Mean losses of a row's answers and how many tokens they count, or why the row is not scored."""

    id: str
    with_prompt: float | None
    without_prompt: float | None
    tokens: int
    unscored: str | None


class _Text(NamedTuple):
    """Token ids, of which the last are scored where `counted` says so."""

    ids: list[int]
    counted: list[bool]


def losses_schema() -> "pa.Schema":
    import pyarrow as pa

    means = [(name, pa.float64()) for name in ("with_prompt", "without_prompt")]
    return pa.schema([("id", pa.string()), *means, ("tokens", pa.int32()), ("unscored", pa.string())])


def uses_gpu() -> bool:
    import torch

    found: bool = torch.cuda.is_available()
    return found


def score(task: Scoring) -> int:
    """Write the losses of the task's rows; returns how many rows. Raises CorpusError if a loss is not finite."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = task.rows.read()
    found = scorer_of(task.checkpoint).losses(rows, task.max_length)
    with atomically(task.losses) as path:
        pq.write_table(pa.Table.from_pylist([one._asdict() for one in found], losses_schema()), path)
    return len(rows)


@dataclass(frozen=True)
class Scorer:
    """A model with its template."""

    model: Any
    template: ChatTemplate
    positions: int | None

    @classmethod
    def load(cls, checkpoint: Path) -> "Scorer":
        """Raises CorpusError if the folder has no weights that can be read."""
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        template = ChatTemplate.load(checkpoint)
        try:
            model = load.weights(checkpoint, torch.float32)
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"{checkpoint}: steps.difficulty scores with its weights, and none can be read: "
                f"{str(error).splitlines()[0]}"
            ) from None
        model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        config = model.config.get_text_config()
        return cls(model, template, getattr(config, "max_position_embeddings", None))

    def losses(self, rows: Sequence[Mapping[str, Any]], max_length: int) -> list[Losses]:
        """Of each row, in order."""
        fitting = min(max_length, self.positions or max_length)
        reasons: dict[int, str] = {}
        behind_prompt: dict[int, list[_Text]] = {}
        alone: dict[int, list[_Text]] = {}
        for number, row in enumerate(rows):
            messages, tools = _conversation(row), row.get("tools")
            answered = messages[-1]["role"] == "assistant"
            reason = self.template.left_out(messages, tools) if answered else "no answer"
            parts = [] if reason is not None else self._encoded(messages, tools)
            if not parts or max(len(ids) for ids, _ in parts) > fitting:
                reasons[number] = reason or ("overlong" if parts else "template")
                continue
            behind_prompt[number] = [_Text(ids, counted[counted.index(True) :]) for ids, counted in parts]
            alone[number] = [text for ids, counted in parts for text in self._alone(ids, counted)]
        sums = self._sums([text for number in alone for text in (*behind_prompt[number], *alone[number])])
        found = []
        for number, row in enumerate(rows):
            if number in reasons:
                found.append(Losses(row["id"], None, None, 0, reasons[number]))
                continue
            tokens = sum(sum(text.counted) for text in behind_prompt[number])
            behind, by_itself = (math.fsum(islice(sums, len(of[number]))) for of in (behind_prompt, alone))
            found.append(Losses(row["id"], behind / tokens, by_itself / tokens, tokens, None))
        return found

    def _encoded(self, messages: list[Message], tools: str | None) -> list[Encoded]:
        """The rows that a conversation is learned in; none if the template refuses it."""
        try:
            [rows] = self.template.rendered([messages], [tools])
            return [self.template.encode_rendered(row) for row in rows]
        except CorpusError:
            return []

    def _alone(self, ids: list[int], counted: list[bool]) -> Iterator[_Text]:
        """Each answer behind its header."""
        header = self.template.header_ids
        places = zip(ids, counted, strict=True)
        for answers, run in groupby(places, key=lambda place: place[1]):
            if answers:
                answer = [token for token, _ in run]
                yield _Text([*header, *answer], [True] * len(answer))

    def _sums(self, texts: list[_Text]) -> Iterator[float]:
        """The summed loss of each text, in their order; computed with like lengths together."""
        found = [0.0] * len(texts)
        with _one_thread():
            for batch in self._batches(texts):
                for number, loss in zip(batch, self._losses([texts[number] for number in batch]), strict=True):
                    found[number] = loss
        return iter(found)

    def _batches(self, texts: list[_Text]) -> Iterator[list[int]]:
        """Numbers of the texts, longest first, in batches that fit into memory."""
        device = self.model.device.type
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        order = sorted(range(len(texts)), key=lambda n: (-len(texts[n].ids), -len(texts[n].counted), n))
        batch: list[int] = []
        answers = 0
        for number in order:
            answers = max(answers, len(texts[number].counted))
            rows = len(batch) + 1
            slots = rows * len(texts[batch[0]].ids) if batch else 0
            if slots > _SLOTS[device] or (batch and rows * answers * vocabulary > _LOGITS[device]):
                yield batch
                batch, answers = [], len(texts[number].counted)
            batch.append(number)
        if batch:
            yield batch

    def _losses(self, texts: list[_Text]) -> list[float]:
        """The summed loss of each text of a batch."""
        each = token_losses(self.model, [text.ids for text in texts], [text.counted for text in texts])
        sums: list[float] = each.double().sum(-1).tolist()
        if not all(map(math.isfinite, sums)):
            raise CorpusError(
                f"{self.template.name}: steps.difficulty cannot score with this model: "
                "a loss is NaN or infinite; its weights are damaged"
            )
        return sums


def _conversation(row: Mapping[str, Any]) -> list[Message]:
    """What a trainer would have the model say: a conversation, or the prompt and its good, chosen or best answer."""
    if row.get("messages") is not None:
        return list(row["messages"])
    answer = row.get("chosen") or row.get("completion") or row["answers"][0]["messages"]
    return [*row["prompt"], *answer]


@lru_cache(maxsize=1)
def scorer_of(checkpoint: Path) -> Scorer:
    """`Scorer.load`, once for a checkpoint."""
    return Scorer.load(checkpoint)


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
