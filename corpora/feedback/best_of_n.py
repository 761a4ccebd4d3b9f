"""The best answers of a model to its prompts as examples to imitate: best of n, or rejection sampling.

(Touvron et al. 2023, arXiv 2307.09288, 3.2.2; Dong et al. 2023, RAFT, arXiv 2304.06767.) What was picked goes the way
of any source: bad rows, repeats and copies of evaluation items go out, and each is accounted for. Near duplicates of
other sources are not looked for: they are made of these sources' own questions.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpora.cleaning.clean import clean
from corpora.feedback.candidates import LEFT_OUT, Judged, Measured, judged_of
from corpora.tables.tables import CANDIDATES, SIGNAL, rows_of
from lineage.errors import CorpusError
from models.messages import plain_messages
from recipes.candidates import BestOfN
from recipes.cleaning import Contamination
from recipes.execution import CorporaExecution
from recipes.sources import Source

VERSION = 1


def pick(
    name: str,
    section: BestOfN,
    candidates: Measured,
    work: Path,
    *,
    items: Path,
    contamination: Contamination,
    execution: CorporaExecution,
) -> dict[str, Any]:
    """Write the picked answers as a clean corpus into `work` and return its metrics, with what was left out.

    items: of the recipe's evaluation. Raises CorpusError if no answer is good enough.
    """
    left_out: Counter[str] = Counter(dict.fromkeys((*LEFT_OUT, "same_answer", "below", "beyond"), 0))
    sensitive, picked, prompts = False, 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{section.candidates}.jsonl"
        with file.open("w", encoding="utf-8") as opened:
            for row, answers in _answers(section, candidates, left_out):
                prompts += 1
                kept = answers[: section.keep]
                left_out["beyond"] += len(answers) - len(kept)
                for answer in kept:
                    messages = [*plain_messages(row["prompt"]), {"role": "assistant", "content": answer.content}]
                    opened.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
                picked, sensitive = picked + len(kept), sensitive or bool(kept and row["sensitive"])
        told = {why: count for why, count in left_out.items() if count}
        if not picked:
            raise CorpusError(f"best_of_n.{name}: of {prompts} prompts none has an answer to pick (left out: {told})")
        source = Source(
            uri=str(file), group=section.group, licence=section.licence, format="chatml", sensitive=sensitive
        )
        metrics = clean(
            name,
            source,
            Path(scratch),
            Path(scratch),
            work,
            items=items,
            contamination=contamination,
            execution=execution,
        )
    return {**metrics, "prompts": prompts, "picked": picked, "left_out": told}


def _answers(
    section: BestOfN, candidates: Measured, left_out: Counter[str]
) -> Iterator[tuple[dict[str, Any], list[Judged]]]:
    """Each prompt with the different answers that are good enough, best first. What is left out is counted."""
    names = list(dict.fromkeys([*section.by, *section.at_least]))
    columns = [rows_of(candidates.signals[name] / SIGNAL) for name in names]
    least = [section.at_least.get(name) for name in names]
    for row, *measured in zip(rows_of(candidates.folder / CANDIDATES), *columns, strict=True):
        answers = judged_of(row, [column["values"] for column in measured], left_out)
        good = [
            answer
            for answer in answers
            if all(low is None or number >= low for number, low in zip(answer.numbers, least, strict=True))
        ]
        left_out["below"] += len(answers) - len(good)
        yield row, good
