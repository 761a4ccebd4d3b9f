"""One hasher: what is equal hashes equal, what has no canonical form is refused."""

from pathlib import Path
from typing import Any

import pytest

from lineage.hashing import canonical_json, fingerprint, tree_digest


def test_key_order_and_tuples_do_not_matter() -> None:
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [1, 2], "a": 1})


def test_a_changed_value_changes_the_fingerprint() -> None:
    assert fingerprint({"beta": 0.1}) != fingerprint({"beta": 0.2})


@pytest.mark.parametrize("value", [{"x": {1, 2}}, [object()], {1: "a"}, float("nan"), Path("a"), b"bytes"])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json(value)


def test_the_refusal_says_where() -> None:
    with pytest.raises(TypeError, match=r"\$\.stages\[1\]\.path: a PosixPath"):
        canonical_json({"stages": [1, {"path": Path("a")}]})


def test_tree_digest_depends_on_names_and_contents_not_on_order() -> None:
    files = [("a", "1" * 64), ("b", "2" * 64)]
    assert tree_digest(files) == tree_digest(reversed(files))
    assert tree_digest(files) != tree_digest([("a", "2" * 64), ("b", "1" * 64)])
