"""What the invariants are shown: a tiny random model of one family, its batches, adapters and jobs, right or wrong."""

import math
import shutil
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import made_flash
import pytest
from made_jobs import LORA, dpo_job, pretrain_job, run_here, sft_job

from jobs.job import Job
from lineage.checks import check
from lineage.store import Artifact
from models.template import ChatTemplate
from recipes.errors import DONE, INTERRUPTED
from recipes.stages import Pretrain, Sft
from tests import tiny
from training import rows, weights
from training.invariants import labels, rendering, saved
from training.stages import dpo

FAMILIES = ("llama", "qwen2")
_TALK = tiny.conversation(1) + tiny.conversation(2)
_PROBE = list(range(5, 45))
_LONG: dict[str, Any] = {"rows": 16, "epochs": 2.0, "checkpoint_steps": 3, "lora": LORA}

Change = Callable[[dict[str, Any]], Any]


class StopAfter(threading.Event):
    """Set once it was asked so many times: a stop at the same moment in every run."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


class Lab:
    """What the invariants are shown, for one family of models."""

    def __init__(self, family: str, home: Path) -> None:
        self.family, self.home = family, home
        self.base = self._base(0)
        self.template = ChatTemplate.load(self.base)
        self.pad_id = self.template.tokenizer.pad_token_id

    def _base(self, seed: int) -> Path:
        write = lambda work: tiny.write_checkpoint(work, seed=seed, family=self.family)  # noqa: E731
        return tiny.sealed(self.home / str(seed), "base", write).path

    @cached_property
    def another(self) -> Path:
        """Another model of the family."""
        return self._base(1)

    # what a batch holds

    def masks(self, change: Callable[[list[bool]], list[bool]]) -> Any:
        ids, mask = self.template.encode(_TALK)
        problem = self.template.parity(_TALK, (ids, change(mask)))
        return check(problem is None, 0, problem or "")

    @cached_property
    def job(self) -> Job:
        return sft_job(self.base, self.home / "sft")

    def _plan(self, micro_batch: int) -> tuple[Any, Sft, rows.StepPlan]:
        """The mixture's rows, and how they are trained on in steps of eight."""
        table = rows.read(self.job.inputs["mixture"].path / "rows.parquet", ("input_ids", "supervised", "n_tokens"))
        execution = {**self.job.config["execution"], "micro_batch": micro_batch}
        stage = Sft.model_validate({**self.job.config, "batch_rows": 8, "execution": execution})
        return table, stage, rows.plan(table["n_tokens"].to_pylist(), stage)

    @cached_property
    def first_rows(self) -> list[labels.Row]:
        table, _, plan = self._plan(8)
        first = plan.order[: labels.rows_in(self.first_batch)]
        return [(table["input_ids"][row].as_py(), table["supervised"][row].as_py()) for row in first]

    @cached_property
    def first_batch(self) -> dict[str, Any]:
        from training.loop.loop import first_batch

        return first_batch(self.sft_trainer(8))

    def sft_trainer(self, micro_batch: int) -> Any:
        """The trainer of an SFT job as `training.stages.sft` makes it, in steps of eight rows."""
        from trl import SFTConfig

        from training.loop import batching, loop
        from training.losses import head
        from training.stages import sft

        table, stage, plan = self._plan(micro_batch)
        trainer = batching.TrainerOfLikeLengths(
            micro_batches=rows.micro_batches(plan, micro_batch),
            model=weights.load_for_training(self.base, stage),
            args=SFTConfig(
                **loop.arguments(stage, plan, self.home), packing=False, dataset_kwargs={"skip_prepare_dataset": True}
            ),
            train_dataset=sft._dataset(table).select(plan.order),
            processing_class=self.template.tokenizer,
        )
        head.score_only_supervised(trainer)
        return trainer

    def packed_labels(self, **changes: Change) -> Any:
        """The same rows end to end, as a trainer without padding gives them."""
        import torch

        places = self.first_batch["attention_mask"].bool()
        flat = {name: self.first_batch[name][places][None] for name in ("input_ids", "labels")}
        positions = torch.cat([torch.arange(len(ids)) for ids, _ in self.first_rows])[None]
        batch = {**flat, "position_ids": positions}
        changed = {**batch, **{name: change(batch) for name, change in changes.items()}}
        found = [labels.labels_equal_mask(changed, self.first_rows), labels.pads_by_length(changed, self.first_rows)]
        return next((verdict for verdict in found if not verdict["passed"]), found[0])

    def labels(self, **changes: Change) -> Any:
        return labels.labels_equal_mask(self._changed(changes), self.first_rows)

    def pads(self, **changes: Change) -> Any:
        return labels.pads_by_length(self._changed(changes), self.first_rows)

    def _changed(self, changes: dict[str, Change]) -> dict[str, Any]:
        return {**self.first_batch, **{name: change(self.first_batch) for name, change in changes.items()}}

    def ends(self, batch: dict[str, Any] | None = None) -> Any:
        return labels.end_of_turn_learned(batch or self.first_batch, self.template.end_ids)

    def batch_of_the_usual_collator(self) -> dict[str, Any]:
        from transformers import DataCollatorForLanguageModeling

        collate = DataCollatorForLanguageModeling(self.template.tokenizer, mlm=False)
        return dict(collate([{"input_ids": ids} for ids, _ in self.first_rows]))

    def starts(self, again: bool, marks_turns: bool = False) -> Any:
        """Rows of a tokenizer that puts a token before every text, rendered by a template that writes it too."""
        from tokenizers import Tokenizer
        from tokenizers.processors import TemplateProcessing

        tokenizer = Tokenizer.from_file(str(self.base / "tokenizer.json"))
        begin = "<|im_start|>" if marks_turns else "<|endoftext|>"
        begin_id = tokenizer.token_to_id(begin)
        tokenizer.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, begin_id)])
        text = ("" if marks_turns else begin) + self.template.render(_TALK)
        ids = tokenizer.encode(text, add_special_tokens=again).ids
        return labels.one_bos([ids], begin_id, marks_turns)

    # what a step would change

    def packed(self, mask_of_ones: bool = False, positions_run_on: bool = False, across_rows: bool = False) -> Any:
        import torch

        from training.invariants.gradients import packed_equals_unpadded

        generator = torch.Generator().manual_seed(0)
        texts = [torch.randint(5, 40_000, (length,), generator=generator).tolist() for length in (9, 17, 6)]
        answers = [[rows.NOT_SUPERVISED] * 3 + text[3:] for text in texts]
        starts = texts if across_rows else answers
        positions = [torch.arange(len(text)) for text in texts]
        batch = {
            "input_ids": torch.tensor([list(chain(*texts))]),
            "labels": torch.tensor([list(chain(*starts))]),
            "position_ids": (torch.arange(sum(map(len, texts))) if positions_run_on else torch.cat(positions))[None],
        }
        if mask_of_ones:
            batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        one_by_one = list(zip(texts, starts, strict=True))
        return packed_equals_unpadded(weights.load(self.base, torch.float32), batch, one_by_one)

    def apart(self, attention: str = "sdpa", bug: AbstractContextManager[Any] | None = None) -> Any:
        """The check on a micro-batch of four sequences, as `stages.pretrain` trains on it; a bug is there from its
        trainer on."""
        from training.losses import head
        from training.stages import pretrain

        with pytest.MonkeyPatch.context() as patch, bug or nullcontext():
            made_flash.install(patch)
            job = pretrain_job(self.base, self.home / "pretrain", execution={"micro_batch": 4})
            stage = Pretrain.model_validate(
                {**job.config, "execution": {**job.execution, "attention": attention, "threads": 1}}
            )
            sequences = rows.read(job.inputs["mixture"].path / "rows.parquet", pretrain._COLUMNS)
            plan = rows.plan(sequences["n_tokens"].to_pylist(), stage)
            model = weights.load_for_training(self.base, stage)
            trainer = pretrain.trainer_of(stage, model, self.template.tokenizer, sequences, plan, self.home)
            head.score_only_supervised(trainer)
            return pretrain.isolation_check(trainer, sequences, plan, "fp32")

    def accumulated(self, mean_of_means: bool = False) -> Any:
        from training.invariants.gradients import accumulation_equals_whole, step_gradient

        one_by_one = self.sft_trainer(1)
        if mean_of_means:
            take = one_by_one.get_batch_samples
            one_by_one.get_batch_samples = lambda *given: (take(*given)[0], None)
        return accumulation_equals_whole(step_gradient(one_by_one), self.gradient_of_whole_batch)

    @cached_property
    def gradient_of_whole_batch(self) -> Any:
        from training.invariants.gradients import step_gradient

        return step_gradient(self.sft_trainer(8))

    def dpo_step0(self, reference: Path, lora: bool = False) -> Any:
        """The check on log-probabilities that the model in `reference` gave to the pairs."""
        from datasets import concatenate_datasets
        from datasets.arrow_dataset import Dataset
        from test_dpo import trainer

        from training.loop.loop import first_batch
        from training.losses.reference import COLUMNS, computed

        job = dpo_job(self.base, self.home / "dpo", lora=LORA if lora else None)
        start = job.inputs["start"].model_copy(update={"path": reference})
        of_other = trainer(job.model_copy(update={"inputs": {**job.inputs, "start": start}}), self.home / "dpo")
        values = computed(of_other, of_other.micro_batches)
        made = trainer(job, self.home / "dpo")
        columns = zip(*(values[place] for place in sorted(values)), strict=True)
        known = Dataset.from_dict(dict(zip(COLUMNS, map(list, columns), strict=True)))
        made.train_dataset = concatenate_datasets([made.train_dataset, known], axis=1)
        return dpo.step0_check(made, first_batch(made), math.log(2))

    # what was saved

    def _adapted(self, **settings: Any) -> Any:
        """The tiny model with an adapter whose values are as if it had been trained."""
        import torch
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(0)
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **settings)
        model = get_peft_model(weights.load(self.base, torch.float32), config)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight), alpha=0.05)
        return model

    def frozen(self, moved: bool = False, **settings: Any) -> Any:
        import torch

        model = self._adapted(**settings)
        if moved:
            with torch.no_grad():
                model.get_base_model().model.norm.weight[0].add_(1e-6)
        return saved.frozen_unmoved(model, weights.load(self.base, torch.float32))

    def adapter(self, change: Callable[[Iterable[Any]], dict[str, Any]] = dict) -> Any:
        import torch
        from peft import PeftModel
        from safetensors.torch import load_file, save_file

        model = self._adapted()
        folder = self.home / "adapter"
        model.save_pretrained(folder)
        file = folder / "adapter_model.safetensors"
        save_file(change(load_file(file).items()), file)
        again = PeftModel.from_pretrained(weights.load(self.base, torch.float32), folder)
        return saved.adapter_whole(model, again)

    def merged(self, perturbed: bool = False, dtype: str = "float32", scale: float = 1.0) -> Any:
        import torch

        model = self._adapted()
        apart = saved.logits(model, _PROBE)
        for layer in model.modules():
            if isinstance(getattr(layer, "scaling", None), dict):
                layer.scaling = {name: value * scale for name, value in layer.scaling.items()}
        together = model.to(getattr(torch, dtype)).merge_and_unload()
        if perturbed:
            with torch.no_grad():
                together.model.layers[0].mlp.down_proj.weight[0, 0].add_(1.0)
        return saved.merged_equals_adapter(saved.logits(together.float(), _PROBE), apart)

    def reloaded(self, left_out: bool = False, perturbed: bool = False) -> Any:
        import torch
        from safetensors.torch import load_file, save_file

        model = weights.load(self.base, torch.float32)
        folder = self.home / "reloaded"
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        name = "model.layers.1.self_attn.v_proj.weight"
        if left_out:
            del tensors[name]
        if perturbed:
            tensors[name][0, 0] *= 1 + 2**-10
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        again = weights.load(folder, torch.float32)
        return saved.reload_equal(model, again, _PROBE)

    def served(self, template: Callable[[str], str] = str, tokenizer: Callable[[str], str] = str) -> Any:
        folder = self.home / "served"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.base, folder)
        for name, change in (("chat_template.jinja", template), ("tokenizer.json", tokenizer)):
            text = (folder / name).read_text(encoding="utf-8")
            changed = change(text)
            assert change is str or changed != text, name
            (folder / name).write_text(changed, encoding="utf-8")
        return rendering.served_as_trained(self.base, folder)

    @cached_property
    def uninterrupted(self) -> Path:
        return _sealed(sft_job(self.base, self.home / "whole", **_LONG)).path

    def resumed(self, bug: AbstractContextManager[Any]) -> Any:
        """A job that is stopped in its fifth step, two after a checkpoint, and run again with the bug in it."""
        home = self.home / "resumed"
        shutil.rmtree(home, ignore_errors=True)
        job = sft_job(self.base, home, **_LONG)
        assert run_here(job, StopAfter(18)) == INTERRUPTED
        with bug:
            found = _sealed(job)
        assert 3 < found.metrics["resumed_from_step"] < found.metrics["steps"]
        return saved.bit_equal(found.path, self.uninterrupted, informative=("history.json",))


def _sealed(job: Job) -> Artifact:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    return found
