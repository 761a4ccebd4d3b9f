"""Every text that the source can make into a reason, a check's name or a metric's name: found by reading it."""

import ast
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
NASTY = ("it's", 'a "quoted" one', "../x", "/x", "a//b", "", ".", "..", "ü, 100 %\n", "🙂" * 300, "x" * 5000, "\ud800")
"""What a user's field, file or word may hold, put into the holes of f-strings."""


def texts(*rooms: str) -> set[str]:
    """Every string in the modules of these rooms but docstrings, with each nasty text in the holes of f-strings."""
    files = [file for room in rooms for file in sorted((_ROOT / room).rglob("*.py"))]
    return {text for file in files for text in _texts(ast.parse(file.read_text(encoding="utf-8")))}


def _texts(tree: ast.AST) -> Iterator[str]:
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for nasty in NASTY:
                yield "".join(part.value if isinstance(part, ast.Constant) else nasty for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value
