"""Are the tests able to fail? Small changes to what must never be wrong, and how many of them are noticed.

`make mutants`, or `python -m tests.mutants [AREA…] [--sample N] [--seed S] [--jobs J]`. cosmic-ray's operators change
one place (a comparison, a sign, a number, a loop) in a copy of the tree; then the tests of that area run. A change
that they let pass is a gap in them, unless it is named below as one that means the same.
"""

import argparse
import difflib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[1]

AREAS: dict[str, tuple[list[str], list[str]]] = {
    "gating": (
        ["evaluation/gating/*.py"],
        [
            *(f"evaluation/test_{name}.py" for name in ("gate", "contaminated", "compare", "statistics", "strata")),
            "recipes/test_power.py",
        ],
    ),
    "statistics": (["evaluation/statistics/*.py"], ["evaluation/test_statistics.py", "evaluation/test_strata.py"]),
    "registry": (
        ["evaluation/registry/agreement.py", "evaluation/registry/disagreement.py", "evaluation/registry/promotion.py"],
        ["evaluation/test_promotion.py", "evaluation/test_agreement.py"],
    ),
    "ledger": (["evaluation/registry/ledger.py"], ["evaluation/test_promotion.py"]),
    "store": (["lineage/store.py"], ["lineage/test_store.py"]),
    "checkpoints": (["training/loop/checkpoints.py"], ["training/test_checkpoints.py", "training/test_resume.py"]),
    "scheduler": (
        ["corpora/mixing/scheduler.py", "corpora/mixing/selection.py", "corpora/mixing/shares.py"],
        [*(f"corpora/test_{name}.py" for name in ("scheduler", "selection", "permutation", "shares"))],
    ),
    "conversations": (
        ["corpora/formats/*.py"],
        [
            *(f"corpora/test_{name}.py" for name in ("formats", "judgements", "trees", "tool_text", "tool_calls")),
            *(f"corpora/test_{name}.py" for name in ("prompts", "preferences", "unpaired", "feedback", "repeats")),
        ],
    ),
}
"""What is changed, and the tests that are to notice it."""

EQUIVALENT: dict[tuple[str, str], str] = {
    ("corpora/formats/prompts.py", r"return str\(listed\[ ?-1\]\)"): "the list has one item",
    ("corpora/mixing/scheduler.py", r".*\(self\._left >= 0\)\)"): "of a source that has none left, none are looked up",
    ("evaluation/registry/ledger.py", r"_LOCK_SECONDS = .*"): "how long somebody waits before giving up",
    ("lineage/store.py", r".*digest\[: ?1[13]\].*"): "how much of a digest a message shows",
}
"""By module and changed line (a pattern): why the change means the same."""

OPERATORS = [
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE")),
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in ("GtE_Gt", "Lt_Gt", "Gt_Lt", "Is_IsNot", "IsNot_Is")),
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul")),
    *(f"core/ReplaceUnaryOperator_{pair}" for pair in ("USub_UAdd", "Delete_Not")),
    *(f"core/{name}" for name in ("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr")),
    *(f"core/{name}" for name in ("ReplaceOrWithAnd", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak")),
    *(f"core/{name}" for name in ("ExceptionReplacer", "NumberReplacer", "ZeroIterationForLoop")),
]
_DECLARES = re.compile(r"\bdef |@dataclass|TYPE_CHECKING|Path\(|path / |folder / ")
"""Lines in which a change means nothing to a test, or is a TypeError that says nothing of one."""
_TIMES, _SECONDS = 5, 60
"""How much longer than without it the tests of a change may take: else it has no end, which is noticed."""


@dataclass(frozen=True)
class Mutant:
    area: str
    module: str
    line: int
    before: str
    after: str
    code: str

    def __str__(self) -> str:
        return f"{self.area}: {self.module}:{self.line}: {self.before}  →  {self.after}"

    @property
    def equivalent(self) -> str | None:
        named = ((pattern, why) for (module, pattern), why in EQUIVALENT.items() if module == self.module)
        return next((why for pattern, why in named if re.fullmatch(pattern, self.after)), None)


def mutants(area: str) -> list[Mutant]:
    """Every change of an area."""
    found = []
    for module in sorted(path for pattern in AREAS[area][0] for path in ROOT.glob(pattern)):
        code = module.read_text(encoding="utf-8")
        nodes = list(ast_nodes(get_ast(code)))
        for name in OPERATORS:
            operator = get_operator(name)()
            for number, _ in enumerate(place for node in nodes for place in operator.mutation_positions(node)):
                changed = mutate_code(code, operator, number)
                if changed is None:
                    continue
                line, before, after = _difference(code, changed)
                if not _DECLARES.search(before) and after != before.replace("strict=True", "strict=False"):
                    found.append(Mutant(area, str(module.relative_to(ROOT)), line, before, after, changed))
    return found


def _difference(code: str, changed: str) -> tuple[int, str, str]:
    """The first changed line: its number, and how it reads before and after."""
    lines = difflib.unified_diff(code.splitlines(), changed.splitlines(), n=0, lineterm="")
    _, _, where, *rest = lines
    before = [line[1:].strip() for line in rest if line.startswith("-")]
    after = [line[1:].strip() for line in rest if line.startswith("+")]
    return int(where.split()[1].lstrip("-").partition(",")[0]), " ".join(before), " ".join(after)


def noticed(mutant: Mutant, tree: Path, seconds: float) -> bool:
    """Whether a test fails, or takes longer, on the change, which is made in this tree and taken back."""
    module = tree / mutant.module
    original = module.read_text(encoding="utf-8")
    module.write_text(mutant.code, encoding="utf-8")
    try:
        return _tests_fail(mutant.area, tree, seconds)
    finally:
        module.write_text(original, encoding="utf-8")


def _tests_fail(area: str, tree: Path, seconds: float | None = None) -> bool:
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [sys.executable, "-B", "-m", "pytest", *options, *(f"tests/{file}" for file in AREAS[area][1])]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)} (all)")
    parser.add_argument(
        "--sample", type=int, default=30, metavar="N", help="changes of each area, drawn by the seed (30)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw (0)")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="test runs at a time (1)")
    asked = parser.parse_args()
    unknown = [area for area in asked.areas if area not in AREAS]
    if unknown:
        parser.error(f"no area {unknown[0]!r}; there are {', '.join(AREAS)}")
    chosen: list[Mutant] = []
    for area in asked.areas or AREAS:
        every = [mutant for mutant in mutants(area) if not mutant.equivalent]
        chosen += random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
        print(f"{area}: {len(every)} changes, {min(asked.sample, len(every))} drawn", flush=True)
    survivors = _survivors(chosen, asked.jobs)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} changes were noticed. Not noticed:"
        if survivors
        else "All noticed."
    )
    for mutant in survivors:
        print(f"  {mutant}")
    if len(survivors) > 0.05 * len(chosen):
        sys.exit(1)


def _survivors(chosen: list[Mutant], jobs: int) -> list[Mutant]:
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            tree = Path(folder, str(number))
            for name in filter(None, files.split("\0")):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
            trees.put(tree)
        limits = {}
        for area in {mutant.area: None for mutant in chosen}:
            start = time.monotonic()
            if _tests_fail(area, Path(folder, "0")):
                sys.exit(f"{area}: its tests fail on the tree as it is")
            limits[area] = _SECONDS + _TIMES * (time.monotonic() - start)

        def tried(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                found = noticed(mutant, tree, limits[mutant.area])
            finally:
                trees.put(tree)
            print(f"{'noticed ' if found else 'SURVIVED'} {mutant}", flush=True)
            return found

        return [mutant for mutant, found in zip(chosen, pool.map(tried, chosen), strict=True) if not found]


if __name__ == "__main__":
    main()
