"""What `inspect` found, on a terminal."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from corpora.commands.inspection import Inspected, containers
from corpora.commands.showing import quantiles, shortened, table
from corpora.formats.items import Conversation, Document, Item, Preference, Unpaired
from models.messages import Message

if TYPE_CHECKING:
    from rich.console import Console


def show_inspection(found: Inspected, hide_text: bool, shown: "Console") -> None:
    _show_inspected(found, hide_text, shown)
    if not hide_text:
        _show_first(found, shown)


def facts(found: Inspected, hide_text: bool) -> dict[str, Any]:
    """The same for a program."""
    languages = found.languages
    first = {} if hide_text else {"first": [vars(item) for item in found.first]}
    return {
        "files": [file.name for file in found.files],
        "containers": {kind: {"files": n, "bytes": size} for kind, (n, size) in containers(found.files).items()},
        **{
            name: getattr(found, name)
            for name in ("format", "kind", "evidence", "unread", "read", "good", "bad", "repeats")
        },
        "whole": found.whole,
        "lost": found.tally.lost if found.tally.lost != math.inf else "unknown",
        "reasons": {
            kind: why._replace(reason=kind if hide_text else why.reason)._asdict()
            for kind, why in found.reasons.items()
        },
        "words": quantiles(found.words),
        "roles": found.roles,
        "languages": dict(languages.rows) if languages is not None else {},
        **first,
    }


def _show_inspected(found: Inspected, hide_text: bool, shown: "Console") -> None:
    kinds = [f"{count} × {kind} ({size:,} bytes)" for kind, (count, size) in containers(found.files).items()]
    lengths = quantiles(found.words)
    partly = "" if found.whole else " (the first ones only)"
    facts = {
        "files": "; ".join(kinds),
        "format": f"{found.format}, {found.kind} rows" if found.format else "none that is known",
        "evidence": found.evidence,
        "not read": ", ".join(found.unread),
        "rows": f"{found.read:,} read, {_usable(found)}{partly}",
        "repeats": f"{found.repeats:,} exact",
        "words": ", ".join(f"{name} {value:,}" for name, value in lengths.items()) + " a row",
        "turns": ", ".join(f"{role} {count:,}" for role, count in found.roles.most_common()),
        "languages": _languages(found),
    }
    for name, value in facts.items():
        if value and (found.kind or name in ("files", "format", "evidence", "rows")):
            shown.print(f"{name:<10} {value}", soft_wrap=True)
    if found.reasons:
        reasons = sorted(found.reasons.values(), key=lambda why: -why.rows)
        shown.print()
        told = [(why.reason.partition(":")[0] if hide_text else why.reason, why.rows, why.first) for why in reasons]
        shown.print(table(("why not", "rows", "first"), told))


def _usable(found: Inspected) -> str:
    counted = f"{found.good:,} good, {found.bad:,} for quarantine{found.tally.told_of_lost}"
    return counted if found.kind else "none of a known format"


def _languages(found: Inspected) -> str:
    languages = found.languages
    if languages is None or not languages.sampled:
        return ""
    told = [f"{name} {rows / languages.sampled:.1%}" for name, rows in list(languages.rows.items())[:6]]
    return ", ".join(
        [*told, f"too short or unclear {(languages.too_short + languages.unclear) / languages.sampled:.1%}"]
    )


def _show_first(found: Inspected, shown: "Console") -> None:
    for number, item in enumerate(found.first, start=1):
        shown.print(f"\nrow {number}", style="bold")
        for who, text in _parts_of(item):
            shown.print(f"{who}: {shortened(text)}" if who else shortened(text), soft_wrap=True)


def _parts_of(item: Item) -> Iterator[tuple[str, str]]:
    """The texts of a row, each with whose it is and what is said of it."""
    match item:
        case Document():
            yield "", item.text
        case Conversation():
            yield from _said(item.messages)
        case Preference():
            yield from (*_said(item.prompt), *_said(item.chosen, "chosen"), *_said(item.rejected, "rejected"))
        case Unpaired():
            yield from (*_said(item.prompt), *_said(item.completion, "good" if item.label else "bad"))
        case _:
            yield from _said(item.prompt)
            for answer in item.answers:
                yield from _said(answer["messages"], f"{answer['score']:g}")


def _said(messages: Sequence[Message], judged: str = "") -> Iterator[tuple[str, str]]:
    """Words and calls of messages. judged: what is said of them; without it, how much they are learned is."""
    for message in messages:
        weight = (message.get("weight") or "1").removeprefix("+")
        learned = {"1": "", "0": " (not learned)"}.get(weight, f" (loss times {weight})")
        for text in filter(None, (message["content"], message.get("tool_calls"))):
            yield judged or f"{message['role']}{learned}", text
