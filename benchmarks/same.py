"""Whether two commits make the same of the same recipe: a change that is to change nothing is proved by it.

`python -m benchmarks.same OLD NEW` checks both commits out beside each other, runs the small recipe of every kind of
stage at each, with this interpreter and a home folder of its own, and compares what lies in the two stores: the
fingerprint of each node with the payload behind it, the digest with the bytes of each file, what training logged, the
results of reports. It prints a line for each difference, and a JSON object on its last line: `nodes` (of both),
`differences`. The exit code is 0 if there is none, else 1.

`--old-home` and `--new-home` compare homes that are there, and run nothing. Figures of speed and memory are no part of
it, and neither is what a record says of time and place.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import small
from lineage.store import RECORD

_MEASURED = ("seconds", "step_time", "_per_s", "memory", "utilisation", "cost")
"""Parts of the names of what no two runs have alike."""


def main() -> int:
    arguments = _parser().parse_args()
    with TemporaryDirectory(prefix="temper-same-") as made:
        folder = Path(made)
        recipe = small.write_recipe(folder / "recipe")
        stores: list[dict[str, Any]] = []
        for commit, home in ((arguments.old, arguments.old_home), (arguments.new, arguments.new_home)):
            if home is None:
                home = folder / f"home-{len(stores)}"
                with _checkout(commit, folder / f"checkout-{len(stores)}") as checkout:
                    print(f"{commit}: running {recipe.name} …", flush=True)
                    small.run(recipe, home, checkout)
            stores.append(read_store(home))
    old, new = stores
    differences = list(differing(old, new))
    print(*differences, sep="\n")
    print(json.dumps({"nodes": len(old.keys() & new.keys()), "differences": len(differences)}))
    return 1 if differences else 0


def read_store(home: Path) -> dict[str, dict[str, Any]]:
    """What is sealed in a home folder by `<recipe>/<node>`; raises SystemExit if that is nothing."""
    objects = home / "objects"
    found: dict[str, dict[str, Any]] = {}
    for record in sorted(objects.rglob(RECORD)):
        folder = record.parent
        node = str(folder.parent.relative_to(objects))
        found.setdefault(node, {})[folder.name] = {
            "record": json.loads(record.read_text(encoding="utf-8")),
            "history": _json(folder / "history.json"),
            "report": _json(folder / "report.json"),
        }
    if not found:
        raise SystemExit(f"{objects}: nothing is sealed there")
    return found


def differing(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A line for each thing that two stores do not have alike."""
    for node in sorted(old.keys() | new.keys()):
        before, after = old.get(node, {}), new.get(node, {})
        if not before or not after:
            yield f"{node}: only in the {'new' if after else 'old'} one"
            continue
        gone, come = sorted(before.keys() - after.keys()), sorted(after.keys() - before.keys())
        for one, other in zip(gone, come, strict=False):
            yield f"{node}: fingerprint {one[:12]} → {other[:12]}"
            was, now = before[one]["record"]["payload"], after[other]["record"]["payload"]
            yield from (f"{node}: payload{line}" for line in _unlike(was, now))
        if len(gone) != len(come):
            yield f"{node}: {len(before)} artefacts → {len(after)}"
        pairs = [(before[name], after[name]) for name in sorted(before.keys() & after.keys())]
        for one, other in [*pairs, *((before[a], after[b]) for a, b in zip(gone, come, strict=False))]:
            yield from (f"{node}: {line}" for line in _contents(one, other))


def _contents(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    one, other = old["record"], new["record"]
    if one["digest"] != other["digest"]:
        yield f"digest {one['digest'][:12]} → {other['digest'][:12]}"
        before, after = (
            {name: entry["sha256"][:12] for name, entry in record["files"].items()} for record in (one, other)
        )
        yield from (f"file{line}" for line in _unlike(before, after))
    for part in ("history", "report"):
        yield from (f"{part}.json{line}" for line in _unlike(old[part], new[part]))


def _unlike(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """`path: old → new` of each value below that is not alike, but for what is measured."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            if not any(part in name for part in _MEASURED):
                yield from _unlike(old.get(name), new.get(name), f"{path}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _unlike(one, other, f"{path}.{number}")
    elif old != new:
        yield f"{path}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


@contextmanager
def _checkout(commit: str, folder: Path) -> Iterator[Path]:
    """A worktree of this repository at a commit, for as long as it is needed."""
    _git("worktree", "add", "--detach", "--quiet", str(folder), commit)
    try:
        yield folder
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=small.CHECKOUT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same", description=__doc__)
    parser.add_argument("old", nargs="?", default="main", help="a commit (main)")
    parser.add_argument("new", nargs="?", default="HEAD", help="a commit (HEAD)")
    parser.add_argument("--old-home", type=Path, help="a home folder that a run left, in the place of a run")
    parser.add_argument("--new-home", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
