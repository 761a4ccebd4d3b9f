"""Documents that share a sequence are learned from as if each were alone, and only gradients can tell."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_flash
import pytest
from made_jobs import pretrain_job, run_here, sft_job

from recipes.errors import DONE, REFUSED
from training import rows
from training.losses import packed

LENGTHS = [9, 4, 13]


def model_of(architecture: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model(architecture, vocab_size=101, initializer_range=0.2, **sizes, **heads),
            dtype=torch.float32,
        )


def documents() -> list[list[int]]:
    import torch

    return torch.randint(0, 101, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0)).split(LENGTHS)


def as_sequence(ids: list[list[int]]) -> dict[str, Any]:
    """One packed sequence of these documents, as `packed.dataset` has it."""
    import pyarrow as pa

    starts = [sum(map(len, ids[:i])) for i in range(len(ids))]
    flat = [int(token) for document in ids for token in document]
    table = pa.table(
        {
            "input_ids": pa.array([flat, flat[:5]], pa.list_(pa.int32())),
            "document_starts": pa.array([starts, [0]], pa.list_(pa.int32())),
        }
    )
    return packed.dataset(table)[0]


def gradients(model: Any, batches: list[dict[str, Any]]) -> tuple[float, list[Any]]:
    """The summed loss of all counted tokens, and what it gives."""
    import torch

    model.zero_grad()
    total = 0.0
    for batch in batches:
        labels = batch["labels"]
        logits = model(**{k: v for k, v in batch.items() if k != "labels"}, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum")
        loss.backward()
        total += float(loss.detach())
    return total, [p.grad.clone() for p in model.parameters()]


def apart(ours: list[Any], theirs: list[Any]) -> float:
    """Norm of the difference of two gradients, relative to the second."""
    difference = sum(float((a - b).square().sum()) for a, b in zip(ours, theirs, strict=True))
    return (difference / sum(float(b.square().sum()) for b in theirs)) ** 0.5


@pytest.mark.invariants
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_gradients_of_packed_documents_are_those_of_each_alone(architecture: str) -> None:
    import torch

    model, collate = model_of(architecture), packed.Collator(pad_id=0)
    batch = collate([as_sequence(documents())])
    loss, found = gradients(model, [batch])
    alone_loss, alone = gradients(model, [collate([as_sequence([document])]) for document in documents()])
    assert loss == pytest.approx(alone_loss, rel=1e-5)
    assert apart(found, alone) < 1e-5

    seen = {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}  # a mask of ones, and they see each other
    assert apart(gradients(model, [seen])[1], alone) > 0.1
    run_on = {**batch, "position_ids": torch.arange(sum(LENGTHS))[None]}
    assert apart(gradients(model, [run_on])[1], alone) > 0.1


def test_labels_leave_out_the_first_token_of_each_document_and_the_padding() -> None:
    long, short = as_sequence(documents()), as_sequence([[7, 8, 9]])
    batch = packed.Collator(pad_id=99)([long, short])
    firsts = {0, 9, 13}
    tokens = [int(token) for document in documents() for token in document]
    assert batch["labels"][0].tolist() == [-100 if i in firsts else t for i, t in enumerate(tokens)]
    assert batch["labels"][1].tolist() == [-100, 8, 9] + [rows.NOT_SUPERVISED] * 23
    assert batch["input_ids"][1].tolist() == [7, 8, 9] + [99] * 23
    assert batch["position_ids"][0].tolist() == [*range(9), *range(4), *range(13)]
    assert batch["position_ids"][1].tolist() == [0, 1, 2, *range(23)]
    assert "attention_mask" not in batch


def test_pretraining_learns_and_proves_itself(tiny_base: Path, tmp_path: Path) -> None:
    job = pretrain_job(tiny_base, tmp_path, epochs=2.0, checkpoint_steps=50)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    held = found.metrics["validation_perplexity"]
    assert held["after"] < held["before"]
    assert isinstance(found.metrics["checks"]["documents_apart"]["value"], float)


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash_attention_2"])
def test_documents_are_apart_however_a_step_is_computed(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attention: str, micro_batch: int
) -> None:
    made_flash.install(monkeypatch)
    histories = []
    for execution in ({"micro_batch": micro_batch, "attention": attention}, {"micro_batch": 1, "attention": "eager"}):
        job = pretrain_job(tiny_base, tmp_path / str(len(histories)), documents=20, max_steps=2, execution=execution)
        job = job.model_copy(update={"config": {**job.config, "execution": job.execution}})
        assert run_here(job) == DONE
        found = job.store.find(job.request)
        assert found is not None
        assert found.metrics["checks"]["documents_apart"]["value"] <= 1e-5
        history = json.loads((found.path / "history.json").read_text(encoding="utf-8"))
        losses = [entry[name] for entry in history for name in ("loss", "grad_norm")]
        histories.append([*losses, *found.metrics["validation_perplexity"].values()])
    assert histories[0] == pytest.approx(histories[1], rel=1e-4)


def _run_on(batch: dict[str, Any]) -> None:
    import torch

    batch["position_ids"] = torch.arange(batch["position_ids"].shape[1]).expand_as(batch["position_ids"])


def _unmasked(batch: dict[str, Any]) -> None:
    batch["labels"] = batch["input_ids"].clone()


@pytest.mark.invariants
@pytest.mark.parametrize("spoil", [_run_on, _unmasked], ids=["positions run on", "borders are counted"])
def test_a_spoilt_batch_is_refused_before_the_first_step(
    spoil: Callable[[dict[str, Any]], None],
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    collate = packed.Collator.__call__

    def spoilt(self: packed.Collator, sequences: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collate(self, sequences)
        spoil(batch)
        return batch

    monkeypatch.setattr(packed.Collator, "__call__", spoilt)
    assert run_here(pretrain_job(tiny_base, tmp_path)) == REFUSED
    assert "are not the mixture's sequences" in capsys.readouterr().out


@pytest.mark.invariants
def test_a_model_that_lets_documents_see_each_other_is_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import masking_utils

    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", lambda _: None)
    assert run_here(pretrain_job(tiny_base, tmp_path)) == REFUSED
    assert "documents of one sequence see each other" in capsys.readouterr().out
    packed_rows = sft_job(tiny_base, tmp_path / "sft", execution={"micro_batch": 2, "packing": True})
    packed_rows = packed_rows.model_copy(update={"config": {**packed_rows.config, "execution": packed_rows.execution}})
    assert run_here(packed_rows) == REFUSED
    assert "packed rows see each other" in capsys.readouterr().out


def test_perplexity_is_that_of_plain_logits_document_by_document(tiny_base: Path, tmp_path: Path) -> None:
    import math

    import torch
    from transformers import AutoModelForCausalLM

    job = pretrain_job(tiny_base, tmp_path, max_steps=1)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    loss, tokens = 0.0, 0
    table = rows.read(job.inputs["mixture"].path / "validation.parquet", ("input_ids", "document_starts"))
    for sequence in table.to_pylist():
        ids, starts = sequence["input_ids"], sequence["document_starts"]
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            own = torch.tensor([ids[start:end]])
            if end - start > 1:
                loss += float(model(own, labels=own).loss.detach()) * (end - start - 1)
                tokens += end - start - 1
    assert found.metrics["validation_perplexity"]["before"] == pytest.approx(math.exp(loss / tokens), rel=1e-4)
