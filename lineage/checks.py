"""A check of an artefact: what its maker found, in the form that the record keeps."""

from typing import TypedDict


class Check(TypedDict):
    """passed: whether what `description` says holds. value: what was measured. blocking: whether a failure stops what
    would be built on the artefact."""

    passed: bool
    blocking: bool
    value: float | str | None
    description: str


def check(passed: bool, value: float | str | None, description: str, *, blocks: bool = True) -> Check:
    """What a maker reports; `passed` is computed there, so that it can turn red."""
    return Check(passed=passed, blocking=blocks, value=value, description=description)
