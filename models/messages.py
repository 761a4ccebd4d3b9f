"""A message of a conversation, as corpora keep it and chat templates render it."""

from collections.abc import Mapping, Sequence

Message = dict[str, str]
"""`role` and `content`; of an assistant's turn perhaps `tool_calls`, a JSON list of {name, arguments}; of a tool's
perhaps `name`, the function that was called. Read back from a table a field that is not there may be None."""


def plain_messages(messages: Sequence[Mapping[str, str | None]]) -> list[Message]:
    """Messages read back from a table, without the fields that they do not have."""
    return [{name: value for name, value in message.items() if value is not None} for message in messages]
