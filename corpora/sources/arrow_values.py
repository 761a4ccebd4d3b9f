"""Values of Arrow's columns as their writer meant them.

Bytes are text if they are UTF-8, else they stay bytes, which no format takes for words. A map is an object. Arrow gives
all structs of a column the same keys, and those that one of them lacks are null there. So nulls of structs inside
structs are left out, as of a call's arguments and a function's parameters; those of a row and of its turns, which mean
the same as no field, stay.
"""

import base64
from typing import Any


def said(value: Any, inside: bool = False) -> Any:
    """A value of a column as its writer meant it. inside: whether it is inside a struct."""
    if isinstance(value, dict):
        found = {str(name): said(member, True) for name, member in value.items()}
        return {name: member for name, member in found.items() if member is not None} if inside else found
    if isinstance(value, list) and value and all(isinstance(member, tuple) for member in value):  # of a map
        found = {str(name): said(member, True) for name, member in value}
        return found if len(found) == len(value) else [list(member) for member in value]  # a key twice is no object
    if isinstance(value, list | tuple):
        return [said(member, inside) for member in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    return plain(value)


def plain(value: Any, text: str | None = None) -> Any:
    """A value as JSON has it, times in ISO 8601; bytes are text with the error handler `text`, else base64."""
    if isinstance(value, dict):
        return {str(name): plain(member, text) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member, text) for member in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode() if text is None else value.decode("utf-8", text)
    if value is None or isinstance(value, str | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
