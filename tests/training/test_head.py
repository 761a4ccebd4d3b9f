"""The head on supervised positions gives TRL's trainers the numbers and gradients of TRL's own."""

from pathlib import Path

import pytest


@pytest.mark.invariants
def test_values_and_gradients_equal_those_of_trl(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from training.head import _replace_head

    ids = torch.randint(5, 40_000, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :7] = labels[1, 9:] = -100
    given = []
    for replace in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tiny_base)
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if replace:
            _replace_head(model, with_statistics=True)
        out = model(input_ids=ids, labels=labels, fused_lm_head=True)
        (out.log_probs * torch.linspace(1, 2, 11)).sum().backward()
        given.append((out, [p.grad for p in model.parameters()]))
    (theirs, their_grads), (ours, our_grads) = given
    for name in ("loss", "log_probs", "entropy", "mean_logits", "is_top1", "label_mask"):
        torch.testing.assert_close(ours[name], theirs[name], msg=name)
    for mine, other in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other)
