"""Conversation trees as OASST keeps them: a prompt with `replies`, each with replies of its own.

A tree is read in one of two ways, and the recipe says which: as `threads`, one conversation that follows the best
reply of each level; or as `ranked`, a ranking for every message with two or more ranked replies of the assistant. Of
siblings rank 0 is the best (OpenAssistant Conversations, Köpf et al. 2023, arXiv 2304.07327). Messages that were
deleted, or that reviewers rejected, are left out with all their replies. The flat form, a row for each message with a
`parent_id`, is not read: a message's parent may stand anywhere in the file, and rows are read on their own.
"""

from collections.abc import Iterator

from corpora.formats.conversations import Message, conversation
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.learning import weight_of
from corpora.reading.row import RowError


def is_tree(fields: Fields) -> bool:
    root = fields.get("prompt")
    return isinstance(root, dict) and isinstance(root.get("text"), str) and isinstance(root.get("replies"), list)


def is_message(fields: Fields) -> bool:
    """Rows that are one message of a tree each."""
    return {"message_id", "text"} <= fields.keys() and not {"parent_id", "message_tree_id"}.isdisjoint(fields)


def thread_fields(fields: Fields) -> str | None:
    return "prompt, a tree of replies" if is_tree(fields) else None


def read_thread(fields: Fields) -> Item:
    """The conversation of the best replies; a question that nobody answered is left out."""
    node = _root(fields)
    turns = [_turn(node, 0)]
    while following := _best_first(node):
        if len(turns) % 2 == 0 and not (following := [reply for reply in following if _kept(reply)]):
            break
        node = following[0]
        turns.append(_turn(node, len(turns)))
    return Conversation(conversation(turns))


def rankings_fields(fields: Fields) -> str | None:
    try:
        found = is_tree(fields) and next(_ranked(fields["prompt"], []), None) is not None
    except RowError:
        return None
    return "prompt, a tree of replies with ranks" if found else None


def rankings_of(fields: Fields) -> list[Fields]:
    """A row for each ranking of a tree; any other row by itself. Raises RowError."""
    if not is_tree(fields):
        return [fields]
    found = [
        {"prompt": before, "answers": [r.get("text") for r in replies], "ranks": [r["rank"] for r in replies]}
        for before, replies in _ranked(_root(fields), [])
    ]
    if not found:
        raise RowError("no ranking: no message has two replies with a rank")
    return found


def _root(fields: Fields) -> Fields:
    if not is_tree(fields):
        raise RowError("no tree: field 'prompt' has no text with replies")
    root: Fields = fields["prompt"]
    if not _usable(root):
        raise RowError("a prompt that was deleted or rejected")
    return root


def _ranked(node: Fields, before: list[Message]) -> Iterator[tuple[list[Message], list[Fields]]]:
    """Everything that was said up to a message with ranked answers, and these."""
    said = [*before, _turn(node, len(before))]
    replies = _kept(node)
    ranked = [reply for reply in replies if isinstance(reply.get("rank"), int | float)]
    if said[-1]["role"] == "user" and len(ranked) > 1:
        yield said, ranked
    for reply in replies:
        yield from _ranked(reply, said)


def _best_first(node: Fields) -> list[Fields]:
    """Replies by rank, those without one behind the others, in the order of the file."""
    ranks = [(reply.get("rank"), reply) for reply in _kept(node)]
    keyed = [(rank if isinstance(rank, int | float) else float("inf"), reply) for rank, reply in ranks]
    return [reply for _, reply in sorted(keyed, key=lambda pair: pair[0])]


def _kept(node: Fields) -> list[Fields]:
    replies = node.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise RowError("unknown shape: replies that are no list of messages")
    return [reply for reply in replies if _usable(reply)]


def _usable(node: Fields) -> bool:
    return not node.get("deleted") and node.get("review_result") is not False


def _turn(node: Fields, depth: int) -> Message:
    role = node.get("role", ("prompter", "assistant")[depth % 2])
    if not isinstance(node.get("text"), str) or not isinstance(role, str):
        raise RowError("unknown shape: a message of the tree without text or role")
    weight = weight_of(node, (), depth + 1) if role == "assistant" else {}
    return {"role": {"prompter": "user"}.get(role, role), "content": node["text"], **weight}


FORMATS = (
    Format(
        "threads", "conversation", "prompt, a tree of replies", thread_fields, each(read_thread), frozenset(("prompt",))
    ),
)
