"""Answers behind one copy of their prompt get the numbers that each gets behind its own."""

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - tests of a module that only job processes import

from tests import tiny
from training.losses import head, shared_prompts

_PROMPTS = [[1, 50, 60, 70, 80], [1, 90], [1, 50, 60, 70, 80], [1, 90], [1, 90], [7, 8, 9]]
_ANSWERS = [[100, 101, 2], [102, 103, 104, 105, 106, 2], [2], [], [107, 2], [108, 109]]
"""The fourth has no answer that counts."""


def batch() -> dict[str, torch.Tensor]:
    """As GRPO pads: prompts on the left, answers on the right."""
    prompt, answer = (max(map(len, rows)) for rows in (_PROMPTS, _ANSWERS))
    ids, mask, labels = (torch.zeros((6, prompt + answer), dtype=torch.long) for _ in range(3))
    for row, (before, after) in enumerate(zip(_PROMPTS, _ANSWERS, strict=True)):
        ids[row, prompt - len(before) : prompt + len(after)] = torch.tensor(before + after)
        mask[row, prompt - len(before) : prompt + len(after)] = 1
    labels.fill_(-100)
    labels[:, prompt:] = ids[:, prompt:].masked_fill(mask[:, prompt:] == 0, -100)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def scored(base: Path, share: bool, attention: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    from training.weights import load

    model = load(base, torch.float32, attn_implementation=attention)
    assert shared_prompts.possible(model)
    head._replace_head(model, 1.0, share=share, with_statistics=False)
    out = model(**batch(), fused_lm_head=True)
    (out.log_probs * torch.linspace(1, 2, out.log_probs.shape[1])).sum().backward()
    return out.log_probs.detach(), [weight.grad for weight in model.parameters()]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_values_and_gradients_are_those_of_rows_apart(tmp_path: Path, family: str, attention: str) -> None:
    base = tmp_path / "base"
    base.mkdir()
    tiny.write_checkpoint(base, family=family)
    (shared, gradients), (apart, expected) = (scored(base, share, attention) for share in (True, False))
    torch.testing.assert_close(shared, apart)
    for mine, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-5)


@pytest.mark.invariants
def test_answers_that_see_each_other_are_noticed(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = shared_prompts._as_mask
    apart, _ = scored(tiny_base, share=False, attention="sdpa")
    monkeypatch.setattr(shared_prompts, "_as_mask", lambda backbone, sees: mask(backbone, torch.ones_like(sees).tril()))
    shared, _ = scored(tiny_base, share=True, attention="sdpa")
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(shared, apart)


def test_a_prompt_is_read_once_and_answered_as_ever(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.weights import load

    model = load(tiny_base, torch.float32)
    ids, mask = torch.zeros((6, 5), dtype=torch.long), torch.zeros((6, 5), dtype=torch.long)
    for row, prompt in enumerate(_PROMPTS):
        ids[row, 5 - len(prompt) :], mask[row, 5 - len(prompt) :] = torch.tensor(prompt), 1
    read: list[torch.Size] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: read.append(k["input_ids"].shape) or forward(*a, **k))
    settings: dict[str, Any] = {"do_sample": False, "max_new_tokens": 8, "eos_token_id": None, "pad_token_id": 0}
    apart = model.generate(input_ids=ids, attention_mask=mask, **settings)
    assert read[0] == (6, 5)
    read.clear()
    known = shared_prompts.read_once(model, ids, mask)
    assert read == [(3, 4)]
    shared = model.generate(input_ids=ids, attention_mask=mask, **known, **settings)
    assert read[1] == (6, 1)
    assert torch.equal(shared, apart)
    assert shared_prompts.read_once(model, ids[[0, 1, 5]], mask[[0, 1, 5]]) == {}


def test_a_model_with_windows_does_not_share(tiny_base: Path) -> None:
    from training.weights import load

    model = load(tiny_base, torch.float32)
    assert shared_prompts.possible(model)
    model.config.sliding_window = 4096
    assert not shared_prompts.possible(model)
