"""A reward model scores where a conversation ends, and is saved with the head that scores."""

from pathlib import Path

import pytest
from made_jobs import falls, reward_job, run_here

from lineage.errors import TrainingError
from recipes.errors import DONE, REFUSED
from training.losses import scoring


def rewards(folder: Path, rows: list[list[int]]) -> list[float]:
    """Rewards of rows in one padded batch, as any user of the checkpoint would compute them."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    batch = AutoTokenizer.from_pretrained(folder).pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        return [float(score) for score in model(**batch).logits[:, 0]]


def test_it_learns_to_prefer_and_proves_itself(tiny_base: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    job = reward_job(tiny_base, tmp_path, epochs=3.0, checkpoint_steps=50)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    assert falls(found)
    assert found.metrics["validation_pairs"] == 5
    pairs = pq.read_table(job.inputs["preferences"].path / "validation.parquet").to_pylist()
    scores = [rewards(found.path, [p["prompt_ids"] + p[f"{side}_ids"] for side in _SIDES]) for p in pairs]
    assert found.metrics["validation_accuracy"] == sum(chosen > rejected for chosen, rejected in scores) / 5


_SIDES = ("chosen", "rejected")


def test_a_saved_reward_does_not_depend_on_the_batch(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    job = reward_job(tiny_base, tmp_path, max_steps=1)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    end = AutoTokenizer.from_pretrained(tiny_base).eos_token_id
    rows = [[5, 6, 7, end], [*range(20, 60), end]]
    together = rewards(found.path, rows)
    assert together == pytest.approx([rewards(found.path, [row])[0] for row in rows], abs=1e-5)
    assert abs(together[0] - rewards(found.path, [rows[0][:-1]])[0]) > 1e-4  # the end of the turn is what is read


@pytest.mark.invariants
def test_a_pad_token_that_also_ends_a_turn_is_noticed(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scoring, "set_free_pad", lambda *_: None)
    assert run_here(reward_job(tiny_base, tmp_path)) == REFUSED
    assert "does not read the last token" in capsys.readouterr().out


def test_a_tokenizer_without_a_free_token_is_refused(tiny_base: Path) -> None:
    import pyarrow as pa
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    specials = [n for n, token in tokenizer.added_tokens_decoder.items() if token.special]
    with pytest.raises(TrainingError, match="none is left to pad with"):
        scoring.set_free_pad(tokenizer, [pa.chunked_array([[specials]])])
    scoring.set_free_pad(tokenizer, [pa.chunked_array([[specials[1:]]])])
    assert tokenizer.pad_token_id == specials[0]
