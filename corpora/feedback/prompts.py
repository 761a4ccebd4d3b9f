"""Prompts to learn from by rewards: rows of clean corpora up to the last answer, tokenised, each with its verifier.

The words come from the clean corpus, so what is kept from training is kept from here. The verifier is no part of the
words: it stays in the source's own row, and is found there again by file and line. What a trainer does with the
prompts is left to it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.reading.lines import Row, blocks, read_block
from corpora.sources import fetch
from corpora.splits import side_of
from corpora.tables.tables import PROMPTS, KeptRows, place_of, prompts_schema, rows_of, writing
from corpora.verifiers.instructions import lay_out_punkt, use_punkt
from corpora.verifiers.verifiers import verifier_of
from lineage.checks import Check, check
from lineage.errors import CorpusError
from lineage.hashing import text_digest
from models.messages import Message, plain_messages
from models.template import ChatTemplate
from models.thoughts import parted
from models.turns import learns
from recipes.cleaning import Splits
from recipes.mixtures import Prompts
from recipes.sources import Source

VERSION = 3

NLTK = "nltk"
"""Folder of the artefact that holds punkt_tab, if the recipe names it."""

_BLOCK_BYTES = 16 << 20

_Place = tuple[str, int]
"""File and line of a row in its source."""


@dataclass(frozen=True)
class Asked:
    """One corpus: its source, its clean folder, and the table of the ids of rows that are left out."""

    name: str
    source: Source
    folder: Path
    removed: Path | None = None


def build_prompts(
    prompts: Prompts, corpora: list[Asked], checkpoint: Path, folder: Path, cache: Path, work: Path, splits: Splits
) -> dict[str, Any]:
    """Write prompts.parquet, in an order drawn by the seed, into `work` and return the metrics.

    checkpoint: whose tokenizer and template are used. folder: of the recipe. cache: of downloads. splits: what is
    kept from training. Raises CorpusError if no prompt is left, or a row brings a verifier that cannot be trusted.
    """
    if prompts.punkt is not None:
        where = "prompts.punkt"
        lay_out_punkt(where, prompts.punkt.uri, fetch(prompts.punkt, folder, cache).files, work / NLTK)
        use_punkt(where, work / NLTK)
    template = ChatTemplate.load(checkpoint)
    left_out: Counter[str] = Counter()
    refused: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for asked in corpora:
        kept = list(_trained_on(asked, splits, left_out))
        brought = _verifiers(asked, {_place(row) for row in kept}, prompts, folder, cache)
        found += _usable(asked, kept, brought, prompts, template, left_out, refused)
    found.sort(key=lambda row: text_digest(f"{prompts.seed}/{row['source']}/{row['id']}"))
    found = found[: prompts.limit]
    if not found:
        first = "".join(f"; the first that the template refuses: {why}" for why in list(refused.values())[:1])
        raise CorpusError(
            f"prompts: none is left (left out: {dict(left_out)}; max_length is {prompts.max_length}{first})"
        )
    with writing(work / PROMPTS, prompts_schema(), {"template_digest": template.digest}) as table:
        for row in found:
            table.add(row)
    verifiers = Counter("none" if row["verifier"] is None else json.loads(row["verifier"])["kind"] for row in found)
    return {
        "prompts": len(found),
        "sources": dict(sorted(Counter(row["source"] for row in found).items())),
        "verifiers": dict(sorted(verifiers.items())),
        "left_out": dict(sorted(left_out.items())),
        **({"refused": refused} if refused else {}),
        "longest": max(len(row["prompt_ids"]) for row in found),
        "template_digest": template.digest,
        "checks": {"template_parity": _parity(work / PROMPTS, template, prompts.thinking)},
    }


def _trained_on(asked: Asked, splits: Splits, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows of one corpus that training may see."""
    kept = KeptRows(asked.folder, asked.removed)
    if kept.kind != "conversation":
        raise CorpusError(f"prompts: source '{asked.name}' has {kept.kind} rows, prompts need conversations")
    left_out["near_duplicate"] += kept.duplicates
    for row in kept:
        if (side := side_of(row, splits)) == "train":
            yield row
        else:
            left_out[side] += 1


def _usable(
    asked: Asked,
    rows: list[dict[str, Any]],
    brought: Mapping[_Place, str],
    prompts: Prompts,
    template: ChatTemplate,
    left_out: Counter[str],
    refused: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """The prompts of these rows that fit, with their verifiers. refused: gets, by source, where the first is that the
    template refuses, and what it says."""
    for row in rows:
        messages = _before_the_last_answer(plain_messages(row["messages"]))
        reason, ids = "tools" if row["tools"] else template.left_out(messages), []
        if reason is None:
            try:
                ids = template.prompt_ids(messages, thinking=prompts.thinking)
            except CorpusError as error:
                reason = "template"
                said = "its words are not shown" if asked.source.sensitive else error
                refused.setdefault(asked.name, f"{place_of(row)}: {said}")
        if reason or len(ids) > prompts.max_length:
            left_out[reason or "overlong"] += 1
            continue
        yield {
            "id": row["id"],
            "source": asked.name,
            "verifier": brought.get(_place(row)),
            "reference": _reference(plain_messages(row["messages"])[-1]),
            "sensitive": asked.source.sensitive,
            "prompt": messages,
            "prompt_ids": ids,
        }


def _place(row: Mapping[str, Any]) -> _Place:
    return row["origin"]["file"], row["origin"]["line"]


def _before_the_last_answer(messages: list[Message]) -> list[Message]:
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def _reference(last: Message) -> str | None:
    """The words of a row's own answer, if it has one that is to be learned."""
    words = parted(last["content"])[1] if learns(last) and not last.get("tool_calls") else ""
    return words.strip() or None


def _verifiers(asked: Asked, places: set[_Place], prompts: Prompts, folder: Path, cache: Path) -> Mapping[_Place, str]:
    """The verifiers of the rows at these places of the source, as JSON, where they bring one."""
    found: dict[_Place, str] = {}
    for block in blocks(fetch(asked.source, folder, cache).files, _BLOCK_BYTES, asked.source.rows):
        for row in read_block(block):
            if not isinstance(row, Row) or (row.file, row.line) not in places:
                continue
            where = f"{asked.source.uri}: {row.file}:{row.line}"
            if "instruction_id_list" in row.value and prompts.punkt is None:
                raise CorpusError(f"{where} is checked by instructions; name `punkt` in prompts, which they need")
            try:
                verifier = verifier_of(row.value)
            except ValueError as error:
                raise CorpusError(f"{where}: {error}") from None
            if verifier is not None:
                found[row.file, row.line] = json.dumps(verifier, ensure_ascii=False, sort_keys=True)
    return found


def _parity(path: Path, template: ChatTemplate, thinking: bool) -> Check:
    """Compare every prompt with what the template's library makes of it."""
    differing = sum(
        template.encode_by_library(plain_messages(row["prompt"]), generation_prompt=True, thinking=thinking)
        != row["prompt_ids"]
        for row in rows_of(path)
    )
    return check(differing == 0, differing, "prompts not tokenised as the template's library does")
