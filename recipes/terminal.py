"""What data and libraries say, on a terminal: control characters are shown there and not obeyed.

A row that clears the screen, moves the cursor, names the window or turns words round would else do so whenever it is
shown.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment

_SIGNS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
"""Unicode's pictures of control characters; there are none of those behind DEL, and of those that turn the direction
of what follows them."""


def harmless(text: Any) -> str:
    """The text with a sign in the place of each control character but for ends of lines and tabs."""
    return str(text).translate(_SIGNS)


class PlainConsole(Console):
    """A console whose own colours are the only escapes that it writes."""

    def render(self, *arguments: Any, **settings: Any) -> Iterable[Segment]:
        for segment in super().render(*arguments, **settings):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)
