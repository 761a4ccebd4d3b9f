"""Every invariant holds on tiny random models, and sees its bug when that is put in: one table says which and how."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from made_invariants import FAMILIES, Lab
from made_jobs import sft_job

from jobs.run_log import RunLog
from lineage.checks import check
from lineage.errors import TrainingError
from recipes.stages import Sft
from training import rows
from training.invariants import INVARIANTS, gradients
from training.stages import frame

Shown = Callable[[Lab], Any]
"""Runs an invariant in a lab; what it returns is its verdict."""


@dataclass(frozen=True)
class Proof:
    """An invariant at work: on what is right, and on each bug."""

    holds: Shown
    bugs: dict[str, Shown]
    families: tuple[str, ...] = FAMILIES


def patched(target: str, replacement: Any) -> AbstractContextManager[Any]:
    """Some library's function replaced while the context is open."""
    patch = pytest.MonkeyPatch()

    class Patched(AbstractContextManager[Any]):
        def __enter__(self) -> None:
            patch.setattr(target, replacement)

        def __exit__(self, *_: object) -> None:
            patch.undo()

    return Patched()


def forgotten(*_: object, **__: object) -> None:
    """What a resume that forgets something does instead."""


def _seeing_in(row: int) -> AbstractContextManager[Any]:
    """transformers as it would be if it found no borders in one row of a batch."""
    from transformers import masking_utils

    found = masking_utils.find_packed_sequence_indices

    def find(position_ids: Any) -> Any:
        documents = found(position_ids)
        if documents is not None and len(documents) > row:
            documents[row] = 0
        return documents

    return patched("transformers.masking_utils.find_packed_sequence_indices", find)


def _changed_batches(change: Callable[[dict[str, Any]], None]) -> AbstractContextManager[Any]:
    """TRL's collator with something wrong in what it makes of a micro-batch."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    collate = DataCollatorForLanguageModeling.torch_call

    def changed(self: Any, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = collate(self, examples)
        change(batch)
        return batch

    return patched("trl.trainer.sft_trainer.DataCollatorForLanguageModeling.torch_call", changed)


def _without_border(batch: dict[str, Any], number: int) -> None:
    borders = batch["cu_seq_lens_q"].tolist()
    del borders[number]
    batch["cu_seq_lens_q"] = batch["cu_seq_lens_k"] = batch["cu_seq_lens_q"].new_tensor(borders)
    batch["max_length_q"] = batch["max_length_k"] = int(batch["cu_seq_lens_q"].diff().max())


def _nan(values: Any, **_: Any) -> Any:
    return values * float("nan")


PROOFS: dict[str, Proof] = {
    "mask_two_ways": Proof(
        lambda lab: lab.masks(lambda mask: mask),
        {
            "prompt tokens supervised": lambda lab: lab.masks(lambda mask: [True] * len(mask)),
            "end of turn not supervised": lambda lab: lab.masks(lambda mask: [*mask[:-2], False, False]),
            "mask shifted by one": lambda lab: lab.masks(lambda mask: [False, *mask[:-1]]),
        },
    ),
    "labels_equal_mask": Proof(
        lambda lab: lab.labels(),
        {
            "labels shifted by one": lambda lab: lab.labels(labels=lambda b: b["labels"].roll(-1, 1)),
            "prompt tokens supervised": lambda lab: lab.labels(labels=lambda b: b["input_ids"]),
            "rows cut short": lambda lab: lab.labels(
                labels=lambda b: b["labels"][:, :9], input_ids=lambda b: b["input_ids"][:, :9]
            ),
            "labels of packed rows shifted by one": lambda lab: lab.packed_labels(
                labels=lambda b: b["labels"].roll(-1, 1)
            ),
            "packed rows whose borders are forgotten": lambda lab: lab.packed_labels(
                position_ids=lambda b: b["position_ids"].clamp(min=1)
            ),
            "rows in another order": lambda lab: lab.labels(
                labels=lambda b: b["labels"].flip(0), input_ids=lambda b: b["input_ids"].flip(0)
            ),
        },
    ),
    "pads_by_length": Proof(
        lambda lab: lab.pads(),
        {
            "pads masked by id, which is that of the end of turn": lambda lab: lab.pads(
                attention_mask=lambda b: (b["input_ids"] != lab.pad_id).long()
            ),
            "pads attended to": lambda lab: lab.pads(attention_mask=lambda b: b["attention_mask"] * 0 + 1),
        },
    ),
    "end_of_turn_learned": Proof(
        lambda lab: lab.ends(),
        {
            "a collator that masks pads by id": lambda lab: lab.ends(lab.batch_of_the_usual_collator()),
            "answers cut off": lambda lab: lab.ends({"labels": lab.first_batch["labels"][:, :12]}),
        },
    ),
    "one_bos": Proof(
        lambda lab: lab.starts(again=False),
        {
            "rendered text tokenised with special tokens again": lambda lab: lab.starts(again=True),
            "the same where the token marks every turn": lambda lab: lab.starts(again=True, marks_turns=True),
        },
    ),
    "packed_equals_unpadded": Proof(
        lambda lab: lab.packed(),
        {
            "a mask of ones, which switches the isolation off": lambda lab: lab.packed(mask_of_ones=True),
            "positions that run on": lambda lab: lab.packed(positions_run_on=True),
            "a first token predicted from the row before": lambda lab: lab.packed(across_rows=True),
        },
    ),
    "documents_apart": Proof(
        lambda lab: lab.apart(),
        {
            **{
                f"documents of row {row} of four see each other": lambda lab, row=row: lab.apart(bug=_seeing_in(row))
                for row in range(4)
            },
            "rows side by side in a kernel that looks at one row's positions alone": lambda lab: lab.apart(
                "flash_attention_2", patched("training.losses.packed._MASKED", ("flash_attention_2",))
            ),
            "rows end to end with a border forgotten": lambda lab: lab.apart(
                "flash_attention_2", _changed_batches(lambda b: _without_border(b, len(b["cu_seq_lens_q"]) // 2))
            ),
            "rows end to end with the last border forgotten": lambda lab: lab.apart(
                "flash_attention_2", _changed_batches(lambda b: _without_border(b, len(b["cu_seq_lens_q"]) - 2))
            ),
            "numbers that are none": lambda lab: lab.apart(bug=patched("torch.nn.functional.silu", _nan)),
        },
    ),
    "accumulation_equals_whole": Proof(
        lambda lab: lab.accumulated(),
        {"a mean of the micro-batches' means": lambda lab: lab.accumulated(mean_of_means=True)},
    ),
    "reference_is_start": Proof(
        lambda lab: lab.dpo_step0(lab.base),
        {
            "the base model as reference, not the start": lambda lab: lab.dpo_step0(lab.another),
            "the same with an adapter": lambda lab: lab.dpo_step0(lab.another, lora=True),
        },
        families=("qwen2",),
    ),
    "frozen_unmoved": Proof(
        lambda lab: lab.frozen(),
        {
            "a frozen weight was trained": lambda lab: lab.frozen(moved=True),
            "an initialisation that changes the frozen weights": lambda lab: lab.frozen(init_lora_weights="pissa"),
        },
    ),
    "adapter_whole": Proof(
        lambda lab: lab.adapter(),
        {
            "an adapter saved without its values": lambda lab: lab.adapter(lambda found: {n: v * 0 for n, v in found}),
            "a tensor left out": lambda lab: lab.adapter(lambda found: dict(list(found)[1:])),
        },
    ),
    "merged_equals_adapter": Proof(
        lambda lab: lab.merged(),
        {
            "a merged weight perturbed": lambda lab: lab.merged(perturbed=True),
            "merged in bfloat16": lambda lab: lab.merged(dtype="bfloat16"),
            "an adapter merged at twice its scale": lambda lab: lab.merged(scale=2.0),
        },
    ),
    "reload_equal": Proof(
        lambda lab: lab.reloaded(),
        {
            "a tensor left out of the file": lambda lab: lab.reloaded(left_out=True),
            "a weight perturbed by one rounding": lambda lab: lab.reloaded(perturbed=True),
        },
    ),
    "served_as_trained": Proof(
        lambda lab: lab.served(),
        {
            "a template with another newline": lambda lab: lab.served(
                template=lambda text: text.replace("'<|im_end|>' + '\n'", "'<|im_end|>' + '\n\n'")
            ),
            "white space that the template strips": lambda lab: lab.served(
                template=lambda text: text.replace("message['content']", "message['content'] | trim")
            ),
            "a tokenizer that puts a space before words": lambda lab: lab.served(
                tokenizer=lambda text: text.replace('"add_prefix_space": false', '"add_prefix_space": true')
            ),
        },
        families=("llama",),
    ),
    "resume_bit_equal": Proof(
        lambda lab: lab.resumed(nullcontext()),
        {
            "dice not restored": lambda lab: lab.resumed(
                patched("transformers.trainer.Trainer._load_rng_state", forgotten)
            ),
            "optimizer and schedule not restored": lambda lab: lab.resumed(
                patched("transformers.trainer.Trainer._load_optimizer_and_scheduler", forgotten)
            ),
            "rows not skipped": lambda lab: lab.resumed(
                patched("transformers.trainer.skip_first_batches", lambda loader, _: loader)
            ),
        },
        families=("qwen2",),
    ),
}


@pytest.fixture(scope="module", params=FAMILIES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(request.param, tmp_path_factory.mktemp(request.param))


def caught(run: Shown, lab: Lab) -> bool:
    """Whether a check failed, as it does before the first step or on what was saved."""
    try:
        return not run(lab)["passed"]
    except TrainingError:
        return True


@pytest.mark.invariants
def test_every_invariant_is_proven_and_has_a_bug_to_catch() -> None:
    assert set(PROOFS) == set(INVARIANTS)
    for name, proof in PROOFS.items():
        assert proof.bugs, name
        module, _, path = INVARIANTS[name].partition(":")
        found = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
        assert found.__doc__, name


@pytest.mark.invariants
@pytest.mark.parametrize("invariant", PROOFS)
def test_it_holds(lab: Lab, invariant: str) -> None:
    if lab.family in PROOFS[invariant].families:
        found = PROOFS[invariant].holds(lab)
        assert found["passed"], found


@pytest.mark.invariants
def test_flash_attention_keeps_documents_apart_too(lab: Lab) -> None:
    assert lab.apart("flash_attention_2")["value"] <= 1e-5


@pytest.mark.invariants
def test_labels_of_packed_rows_are_their_masks_too(lab: Lab) -> None:
    assert lab.packed_labels()["passed"]


@pytest.mark.invariants
@pytest.mark.parametrize(("invariant", "bug"), [(name, bug) for name, proof in PROOFS.items() for bug in proof.bugs])
def test_its_bug_is_caught(lab: Lab, invariant: str, bug: str) -> None:
    if lab.family in PROOFS[invariant].families:
        assert caught(PROOFS[invariant].bugs[bug], lab)


def test_no_step_is_taken_unless_every_check_passed(tiny_base: Path, tmp_path: Path) -> None:
    job = sft_job(tiny_base, tmp_path)
    plan = rows.plan([5, 4], stage := Sft.model_validate(job.config))
    training = frame.Training(job, tmp_path, RunLog(), threading.Event(), stage, "mixture", plan)
    red = check(False, 3, "rows that are not the mixture's: none may be")
    with pytest.raises(
        TrainingError, match="before the first step: rows that are not the mixture's: none may be; found 3"
    ):
        training.train(None, {"green": check(True, 0, "holds"), "red": red})


def test_packed_gradients_are_held_to_the_tolerance_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "gradient", lambda *_: None)
    monkeypatch.setattr(gradients, "difference", lambda *_: 0.02)
    assert gradients.packed_equals_unpadded(None, {}, [], tolerance=0.05)["passed"]
    assert not gradients.packed_equals_unpadded(None, {}, [], tolerance=0.01)["passed"]
