"""Instructions that a program can check, as IFEval has them (Zhou et al. 2023, arXiv 2311.07911).

The checkers are lm-eval's, run in a process apart (`checked`), since a row may bring a keyword that is a pattern
without end. Three things make them silently wrong: rows without the arguments of a checker (it would draw them at
random), language detection without a seed (`checker` sets it), and a missing NLTK punkt_tab, for which lm-eval would
ask the network when its checkers are imported. Evaluation and training check answers by this module.
"""

import inspect
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpora.sources.raw import RawFile
from corpora.verifiers.checked import Unchecked, checked
from lineage.errors import CorpusError

_PUNKT = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")
_ENGLISH = Path("tokenizers", "punkt_tab", "english")


def lay_out_punkt(where: str, uri: str, files: Iterable[RawFile], root: Path) -> None:
    """Copy English punkt_tab into `root`, a data folder of NLTK. Raises CorpusError if a file of it is missing."""
    found = {Path(file.name).name: file.path for file in files}
    missing = [name for name in _PUNKT if name not in found]
    if missing:
        raise CorpusError(f"{where}: {uri} lacks {missing}; name the files of punkt_tab/english")
    (root / _ENGLISH).mkdir(parents=True, exist_ok=True)
    for name in _PUNKT:
        shutil.copyfile(found[name], root / _ENGLISH / name)


def use_punkt(where: str, root: Path) -> None:
    """Make NLTK find the data folder `root`, and use its punkt_tab once. Raises CorpusError if it is no such thing."""
    os.environ["NLTK_DATA"] = str(root)
    import nltk

    nltk.data.path.insert(0, str(root))
    try:
        sentences = nltk.tokenize.PunktTokenizer("english").tokenize("This is one. Here is another.")
    except (LookupError, ValueError, IndexError) as error:
        raise CorpusError(f"{where}: NLTK cannot read it: {type(error).__name__}") from None
    if len(sentences) != 2:
        raise CorpusError(f"{where}: not the English punkt_tab: it splits two sentences into {len(sentences)}")


def problem_of(row: Mapping[str, Any]) -> str | None:
    """Why the checkers cannot be trusted with this row's `prompt`, `instruction_id_list` and `kwargs`."""
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(row.get("prompt"), str) or not row["prompt"].strip():
        return "'prompt' is missing or empty"
    if not isinstance(names, list) or not names:
        return "'instruction_id_list' is missing"
    if not isinstance(arguments, list) or len(arguments) != len(names):
        return "'kwargs' must hold one object per instruction"
    for name, given in zip(names, arguments, strict=True):
        if not isinstance(name, str) or not isinstance(given, dict):
            return "'instruction_id_list' must hold texts, 'kwargs' objects"
        if name not in INSTRUCTION_DICT:
            return f"instruction '{name}' is not known to lm_eval {version('lm_eval')}"
        needed = set(inspect.signature(INSTRUCTION_DICT[name].build_description).parameters) - {"self", "kwargs"}
        lacking = sorted(argument for argument in needed if not given.get(argument))
        if lacking:
            return f"instruction '{name}' needs {lacking}, otherwise its checker draws them at random"
    return None


def followed(asked: Sequence[tuple[Mapping[str, Any], str]]) -> list[list[bool] | Unchecked]:
    """Which of its row's instructions each answer follows, by lm-eval's strict reading. Needs `use_punkt` before."""
    fields = ("prompt", "instruction_id_list", "kwargs")
    return checked(
        "instructions", [{**{name: row[name] for name in fields}, "answer": answer} for row, answer in asked]
    )
