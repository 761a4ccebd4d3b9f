"""Formats of answers that were judged: one that is good or bad (KTO), or two of which one is better.

Field names are TRL's, LLaMA-Factory's (`kto_tag`, `chosen_messages`, ShareGPT turns with `chosen`) and HH-RLHF's (whole
dialogues as text). What says good or bad is told by `judgements`. Ranked, rated and voted answers are `scored`'s.
"""

from corpora.formats.conversations import Message, conversation, is_turns, turns, with_system
from corpora.formats.examples import exchange
from corpora.formats.format import Format, each
from corpora.formats.items import Item, Preference, Unpaired
from corpora.formats.judgements import JUDGES, LABELS, annotator_of, is_empty, must_say, said, verdict
from corpora.formats.prompts import Fields, answer_to, dialogue, first, prompt_field, prompt_of, turns_field
from corpora.formats.tool_calls import tools_of
from corpora.reading.row import RowError

RESPONSES = ("completion", "response", "answer", "output", "reply")
PAIRS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"))


def response_field(fields: Fields) -> str | None:
    """The field of a row's one answer: text, turns or one turn."""
    if (found := first(fields, RESPONSES, str | list)) is not None:
        return found
    return next((name for name in RESPONSES if isinstance(fields.get(name), dict) and is_turns([fields[name]])), None)


def unpaired_fields(fields: Fields) -> str | None:
    found = verdict(fields)
    if found is None or not is_empty(fields.get("chosen")):
        return None
    label = found[0]
    whole = first(fields, ("messages",), list) or turns_field(fields)
    asked, answered = prompt_field(fields), response_field(fields)
    return f"{whole}, {label}" if whole else f"{asked}, {answered}, {label}" if asked and answered else None


def read_unpaired(fields: Fields) -> Item:
    good, messages = _good(fields), conversation(_whole(fields))
    return Unpaired(messages[:-1], messages[-1:], good, tools_of(fields), annotator_of(fields))


def preference_fields(fields: Fields) -> str | None:
    pair = _pair(fields)
    return ", ".join(pair) if pair else None


def read_preference(fields: Fields) -> Item:
    """Answers as text, one turn, or whole conversations; the prompt from these or from a field of its own."""
    before = prompt_of(fields)
    chosen, rejected = (_conversation(fields, name, before) for name in _pair(fields) or PAIRS[0])
    if chosen[:-1] != rejected[:-1]:
        raise RowError("chosen and rejected answer different prompts, or differ before the last of several turns")
    if chosen[-1] == rejected[-1]:
        raise RowError("chosen and rejected are the same")
    return Preference(chosen[:-1], chosen[-1:], rejected[-1:], tools_of(fields))


def _pair(fields: Fields) -> tuple[str, str] | None:
    """The names of a better and a worse answer."""
    pairs = (pair for pair in PAIRS if all(first(fields, (name,), str | dict | list) for name in pair))
    return next((pair for pair in pairs if not all(is_empty(fields[name]) for name in pair)), None)


def _whole(fields: Fields) -> list[Message]:
    """The conversation of a row that has one answer, in any of the forms of an example."""
    name = "messages" if not is_empty(fields.get("messages")) else turns_field(fields)
    if name is not None:
        return with_system(fields, turns(fields[name]))
    names = exchange(fields)
    answered = names[1] if names else response_field(fields) or RESPONSES[0]
    return answer_to(prompt_of(fields), fields.get(answered), answered)


def _conversation(fields: Fields, name: str, before: list[Message]) -> list[Message]:
    try:
        return conversation(_answered(fields, name, before))
    except RowError as error:
        raise RowError(f"{error} of {name}" if ": turn " in str(error) else str(error)) from None


def _answered(fields: Fields, name: str, before: list[Message]) -> list[Message]:
    value, asked = fields.get(name), fields.get("prompt")
    if isinstance(value, str):
        repeats = isinstance(asked, str) and asked.startswith("Human:") and value.startswith(asked)
        value = dialogue(value, asked=False, bare=repeats or not before) or value
    return answer_to(before, value, name)


def _good(fields: Fields) -> bool:
    found = verdict(fields)
    if found is not None:
        other = next((name for name in LABELS if said(fields.get(name)) is (not found[1])), None)
        if other is not None:
            raise RowError(f"labels that differ: '{found[0]}' and '{other}'")
        return found[1]
    name = next((name for name in LABELS if not is_empty(fields.get(name))), None)
    if name is None:
        raise RowError(
            f"no field '{LABELS[0]}' that says good or bad: name yours in `columns`, as columns: {{label: …}}"
        )
    return must_say(fields[name], name)


FORMATS = (
    Format(
        "preference",
        "preference",
        "chosen, rejected",
        preference_fields,
        each(read_preference),
        frozenset(better for better, _ in PAIRS),
        PAIRS,
    ),
    Format("unpaired", "unpaired", "an answer and its label", unpaired_fields, each(read_unpaired), JUDGES),
)
