"""Rewards by name: what each gives to an answer, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lineage.errors import TrainingError
from recipes.stages import Grpo
from tests.evaluation.made_suite import write_data
from training import rewards

SUM = {"kind": "gym", "task": "chain_sum", "arguments": {}, "answer": "7", "entry": {"answer": "7"}}
COMMAS = {
    "kind": "instructions",
    "prompt": "Name two colours.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"relation": "at least", "num_words": 3}],
}


def stage(*rewarded: dict[str, Any], **changes: Any) -> Grpo:
    fields = {
        "kind": "grpo",
        "start": "base",
        "prompts": "sums",
        "rewards": list(rewarded),
        "generations": 2,
        "max_new_tokens": 10,
        "learning_rate": 0.1,
        "batch_rows": 2,
        "seed": 1,
    }
    return Grpo.model_validate({**fields, **changes})


def given(asked: Grpo, brought: list[Any], folder: Path, **call: Any) -> list[list[float | None]]:
    """What each of the stage's rewards gives."""
    made = rewards.functions(asked, [b and json.dumps(b) for b in brought], folder, folder, None, "cpu")
    return [function(**call) for function in made]


def test_a_verifier_gives_what_reasoning_gym_gives(tmp_path: Path) -> None:
    call = {"completions": [" 7\n", "It is 7.", "8", "7"], "row": [0, 0, 0, 1]}
    asked = stage({"kind": "verifier"}, {"kind": "format", "pattern": r"-?\d+"})
    assert given(asked, [SUM, None], tmp_path, **call) == [[1.0, 1 / 8, 0.0, None], [1.0, 0.0, 1.0, 1.0]]
    whole = stage({"kind": "verifier", "partial": False})
    assert given(whole, [SUM], tmp_path, completions=["7", "It is 7."], row=[0, 0]) == [[1.0, 0.0]]


@pytest.mark.parametrize("task", ["countdown", "bitwise_arithmetic", "composite", "not_yet_tried"])
def test_a_prompt_whose_verifier_runs_what_it_is_sent_is_refused(tmp_path: Path, task: str) -> None:
    with pytest.raises(TrainingError, match=r"a prompt brings a verifier that is not to be used: field 'task': "):
        given(stage({"kind": "verifier"}), [{**SUM, "task": task}], tmp_path, completions=["1"], row=[0])


def test_an_answer_that_hangs_or_breaks_a_check_gets_nothing_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    factors = {"kind": "gym", "task": "prime_factorization", "arguments": {}, "answer": "2 × 3"}
    factors["entry"] = {"answer": "2 × 3", "metadata": {"number": 6, "factors": [2, 3]}}
    asked = stage({"kind": "verifier"}, {"kind": "format", "pattern": "(a+)+"})
    call = {"completions": ["2 × 3", "two", "a" * 64 + "b", "7"], "row": [0, 0, 0, 1]}
    assert given(asked, [factors, SUM], tmp_path, **call) == [[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    said = capsys.readouterr().out
    assert (
        "rewards: verifier: 2 of 4 answers could not be checked and count as wrong: 2 × ended with ValueError" in said
    )
    assert "rewards: format: 1 of 4 answers could not be checked and count as wrong: 1 × not done in 5 s" in said


def test_instructions_give_the_share_that_is_followed(tmp_path: Path) -> None:
    write_data(tmp_path)
    shutil.copytree(tmp_path / "punkt_tab", tmp_path / "nltk" / "tokenizers" / "punkt_tab")
    call = {"completions": ["Red and blue.", "Red, blue.", "Red"], "row": [0, 0, 0]}
    assert given(stage({"kind": "instructions"}), [COMMAS], tmp_path, **call) == [[1.0, 0.0, 0.5]]


def test_length_is_free_at_first_and_then_costs(tmp_path: Path) -> None:
    asked = stage({"kind": "length", "free_tokens": 6})
    assert given(asked, [None], tmp_path, completion_ids=[[1] * n for n in (2, 6, 8, 10)]) == [[0, 0, -0.5, -1.0]]


def test_a_prompt_that_no_reward_applies_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none applies to 1 of 2 prompts"):
        given(stage({"kind": "verifier"}), [SUM, None], tmp_path, completions=[], row=[])


@pytest.mark.parametrize(
    ("rewarded", "message"),
    [
        ([{"kind": "length", "free_tokens": 10}], "free_tokens 10 leaves nothing below max_new_tokens 10"),
        ([{"kind": "verifier"}, {"kind": "verifier"}], "verifier is there twice"),
        ([{"kind": "format", "pattern": "("}], "not a regular expression"),
        ([{"kind": "os.system"}], "does not match any of the expected tags"),
        ([{"kind": "verifier", "weight": 0}], "greater than 0"),
    ],
)
def test_a_reward_is_a_known_name_with_a_weight(rewarded: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(*rewarded)


def test_groups_fill_a_step() -> None:
    with pytest.raises(ValidationError, match="batch_rows 3 is not a multiple of generations 2"):
        stage({"kind": "verifier"}, batch_rows=3)


@pytest.fixture(scope="module")
def judge(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier with one score and the tokenizer of the tiny base."""
    import torch
    from transformers import AutoModelForSequenceClassification

    folder = tmp_path_factory.mktemp("judge")
    shutil.copytree(tiny_base, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    torch.manual_seed(5)
    AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1).save_pretrained(folder)
    return folder


def test_a_reward_model_judges_the_very_tokens(tiny_base: Path, judge: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    asked = stage({"kind": "reward_model", "checkpoint": "judge"})
    (function,) = rewards.functions(asked, [None], tmp_path, tiny_base, judge, "cpu")
    prompts, answers = [[40, 41, 42], [43, 44]], [[50], [51, 52, 53, 54]]
    together = function(prompts=prompts, completion_ids=answers)
    model = AutoModelForSequenceClassification.from_pretrained(judge).eval()
    with torch.no_grad():
        alone = [float(model(torch.tensor([p + a])).logits) for p, a in zip(prompts, answers, strict=True)]
    assert together == pytest.approx(alone, abs=1e-6)


def test_what_is_no_reward_model_is_refused(tiny_base: Path, judge: Path, tmp_path: Path) -> None:
    asked = stage({"kind": "reward_model", "checkpoint": "judge"})
    with pytest.raises(TrainingError, match="is no reward model: it lacks score"):
        rewards.functions(asked, [None], tmp_path, tiny_base, tiny_base, "cpu")
    with pytest.raises(TrainingError, match="name it in the recipe"):
        rewards.functions(asked, [None], tmp_path, tiny_base, None, "cpu")
    other = tmp_path / "other"
    shutil.copytree(judge, other)
    (other / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TrainingError, match="has another tokenizer"):
        rewards.functions(asked, [None], tmp_path, tiny_base, other, "cpu")
