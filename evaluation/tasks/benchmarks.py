"""The benchmarks that lm-eval packages and that differ in little: a table of what tells them apart.

Rows are those of each data set's own files; what of a row becomes the item, and is hashed and paired by, is said here.

- MMLU-Pro (Wang et al. 2024, arXiv 2406.01574), `mmlu_pro`: reasons, then "the answer is (X)".
- GPQA (Rein et al. 2023, arXiv 2311.12022), `gpqa_*_zeroshot`: letters compared, as plain text. lm-eval shuffles the
  choices by the global random state, so that their order depends on what ran before; here it follows from the item.
- GSM8K (Cobbe et al. 2021, arXiv 2110.14168), `gsm8k_cot` and `gsm8k_cot_zeroshot`: `strict_match` wants "The answer
  is 7.", `flexible_match` takes the last number.
- AIME, `aime`, `aime24` or `aime25` by the names of the rows' fields: the number in \\boxed{}, or between dollars.
- TruthfulQA (Lin et al. 2022, arXiv 2109.07958): `mc1`, whether the one true answer is likeliest, and `mc2`, the share
  of probability that true answers get; plain text.

Categories and domains are strata, the fixed parts of their benchmark; all other items stand alone.

Written answers are asked for in the chat template, worked examples as turns of their own, as lm-eval does by default.
"""

from collections.abc import Mapping
from typing import Any

from evaluation.task import Place, read_rows
from evaluation.tasks.packaged import Benchmark, Item, Metric, Packaged, list_of, prepared, texts_of
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint
from recipes.suite import AimeTask, GpqaTask, Gsm8kTask, MmluProTask, TruthfulqaTask

PackagedTask = MmluProTask | GpqaTask | Gsm8kTask | AimeTask | TruthfulqaTask


def prepare(name: str, task: PackagedTask, place: Place) -> Packaged:
    """Read, check and draw the rows, and the worked examples where the recipe names them.

    Raises EvaluationError that names the row and the field.
    """
    benchmark, facts, shots = _benchmark(f"evaluation.tasks.{name}", task, place)
    return prepared(name, task, task.data, place, benchmark, facts, shots)


def _benchmark(where: str, task: PackagedTask, place: Place) -> tuple[Benchmark, dict[str, Any], int]:
    """What a task asks, its further facts, and how many worked examples it shows."""
    match task.kind:
        case "mmlu_pro":
            return _mmlu_pro(where, task, place)
        case "gsm8k":
            return _gsm8k(task.shots), {"examples": "lm-eval's own"} if task.shots else {}, task.shots
        case "gpqa":
            return _GPQA, {"choices": "ordered by their digests"}, 0
        case "aime":
            return _AIME, {}, 0
        case "truthfulqa":
            return _TRUTHFULQA, {"examples": "six in the prompt of lm-eval"}, 0


_LETTERS = "ABCDEFGHIJ"
_PRO_CATEGORIES = (
    *("biology", "business", "chemistry", "computer science", "economics", "engineering", "health", "history", "law"),
    *("math", "other", "philosophy", "physics", "psychology"),
)


def _mmlu_pro(where: str, task: MmluProTask, place: Place) -> tuple[Benchmark, dict[str, Any], int]:
    shown: dict[str, list[Item]] = {}
    facts = {}
    if task.shots and task.examples is not None:
        rows = read_rows(f"{where}.examples", task.examples, place)
        facts["examples_digest"] = rows.digest
        for index, row in enumerate(rows.rows, start=1):
            try:
                example = {**_pro_question(row), "cot_content": texts_of(row, "cot_content")[0]}
            except ValueError as error:
                raise EvaluationError(f"{where}.examples: row {index}: {error}") from None
            shown.setdefault(example["category"], []).append(example)
        lacking = [name for name in _PRO_CATEGORIES if len(shown.get(name, [])) < task.shots]
        if lacking:
            raise EvaluationError(f"{where}.examples: fewer than {task.shots} worked examples of {', '.join(lacking)}")
    benchmark = Benchmark(
        item=_pro_question,
        packaged=lambda item: {"": f"mmlu_pro/mmlu_pro_{item['category'].replace(' ', '_')}.yaml"},
        split="test",
        metrics={"accuracy": Metric("exact_match", filter="custom-extract")},
        question="question",
        target=lambda item: str(item["answer"]),
        stratum="category",
        examples=lambda item: {"validation": shown.get(item["category"], [])} if shown else {},
        chat=True,
        settings={} if shown else {"fewshot_split": None, "num_fewshot": 0},
    )
    return benchmark, facts, task.shots


def _pro_question(row: Mapping[str, Any]) -> Item:
    question, answer, category = texts_of(row, "question", "answer", "category")
    options = list_of(row, "options", str, 2)
    if category not in _PRO_CATEGORIES:
        raise ValueError(f"expected a category of MMLU-Pro in field 'category', found {category!r}")
    if answer not in tuple(_LETTERS[: len(options)]):
        raise ValueError(f"expected the letter of one of {len(options)} options in field 'answer', found {answer!r}")
    return {"category": category, "question": question, "options": options, "answer": answer}


def _gsm8k(shots: int) -> Benchmark:
    return Benchmark(
        item=_grade_school,
        packaged=lambda item: {"": "gsm8k/gsm8k-cot.yaml" if shots else "gsm8k/gsm8k-cot-zeroshot.yaml"},
        split="test",
        metrics={
            "strict_match": Metric("exact_match", filter="strict-match"),
            "flexible_match": Metric("exact_match", filter="flexible-extract"),
        },
        question="question",
        target=lambda item: str(item["answer"]).rpartition("####")[2].strip(),
        chat=True,
        settings={"training_split": None, "fewshot_split": None},
    )


def _grade_school(row: Mapping[str, Any]) -> Item:
    question, answer = texts_of(row, "question", "answer")
    if "####" not in answer or not answer.rpartition("####")[2].strip():
        raise ValueError("expected the result behind '####' in field 'answer'")
    return {"question": question, "answer": answer}


_GPQA_CHOICES = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def _gpqa_question(row: Mapping[str, Any]) -> Item:
    from lm_eval.tasks.gpqa.zeroshot.utils import preprocess

    question, *texts = texts_of(row, "Question", *_GPQA_CHOICES)
    right, *wrong = [preprocess(text) for text in texts]
    if right in wrong:
        raise ValueError("the right answer in field 'Correct Answer' is one of the wrong ones too")
    choices = sorted([right, *wrong], key=lambda choice: fingerprint([question, choice]))
    domain = row.get("High-level domain")
    return {
        "Question": question,
        **{f"choice{place}": choice for place, choice in enumerate(choices, start=1)},
        "answer": f"({_LETTERS[choices.index(right)]})",
        "domain": domain if isinstance(domain, str) and domain.strip() else "unknown",
    }


_GPQA = Benchmark(
    item=_gpqa_question,
    packaged=lambda item: {"": "gpqa/zeroshot/gpqa_diamond_zeroshot.yaml"},
    split="train",
    stratum="domain",
    metrics={"accuracy": Metric("acc")},
    question="Question",
    target=lambda item: str(item[f"choice{_LETTERS.index(item['answer'][1]) + 1}"]),
    choices=lambda item: [item[f"choice{place}"] for place in range(1, 5)],
    settings={"process_docs": None},
)


_AIME_FIELDS = {("Problem", "Answer"): "aime24", ("problem", "answer"): "aime25", ("Question", "Answer"): "aime"}


def _competition(row: Mapping[str, Any]) -> Item:
    names = next((names for names in _AIME_FIELDS if set(names) <= set(row)), None)
    if names is None:
        raise ValueError(
            f"expected fields Problem and Answer, problem and answer or Question and Answer: {sorted(row)}"
        )
    (problem,) = texts_of(row, names[0])
    answer = str(row[names[1]]).strip().removesuffix("^\\circ")  # one answer of 2025 is in degrees
    if not (answer.isascii() and answer.isdigit() and len(answer) <= 3):
        raise ValueError(f"expected a whole number from 0 to 999 in field '{names[1]}'")
    return {names[0]: problem, names[1]: str(int(answer)), "text": problem}


_AIME = Benchmark(
    item=_competition,
    packaged=lambda item: {
        "": f"aime/{next(name for names, name in _AIME_FIELDS.items() if set(names) <= set(item))}.yaml"
    },
    split="test",
    metrics={"accuracy": Metric("exact_match")},
    question="text",
    target=lambda item: str(item.get("Answer", item.get("answer"))),
    chat=True,
    settings={"training_split": None, "fewshot_split": None, "test_split": "test"},
)


def _truth(row: Mapping[str, Any]) -> Item:
    (question,) = texts_of(row, "question")
    targets = {}
    for part in ("mc1_targets", "mc2_targets"):
        given = row.get(part)
        if not isinstance(given, Mapping):
            raise ValueError(f"expected choices and labels in field '{part}'")
        choices, labels = list_of(given, "choices", str, 2), list_of(given, "labels", int, 2)
        if len(choices) != len(labels) or not set(labels) == {0, 1}:
            raise ValueError(f"expected a label 0 or 1 for each choice in field '{part}', of both at least one")
        targets[part] = {"choices": choices, "labels": labels}
    if targets["mc1_targets"]["labels"] != [1] + [0] * (len(targets["mc1_targets"]["labels"]) - 1):
        raise ValueError("expected the one true answer first in field 'mc1_targets', where lm-eval looks for it")
    return {"question": question, **targets}


_TRUTHFULQA = Benchmark(
    item=_truth,
    packaged=lambda item: {part: f"truthfulqa/truthfulqa_{part}.yaml" for part in ("mc1", "mc2")},
    split="validation",
    metrics={part: Metric("acc", part) for part in ("mc1", "mc2")},
    question="question",
    target=lambda item: str(item["mc1_targets"]["choices"][0]),
    choices=lambda item: list(item["mc1_targets"]["choices"]),
)
