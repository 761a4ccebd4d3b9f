"""The head on supervised positions gives TRL's trainers the numbers and gradients of TRL's own."""

from pathlib import Path

import pytest

from training.losses import head


@pytest.mark.parametrize(
    ("lengths", "at_once"),
    [(None, 1 << 27), ([12, 5], 1 << 27), ([12, 12], 1 << 27), ([5, 12], 3 * 49_152)],
    ids=["no mask", "apart", "together", "in chunks"],
)
def test_values_and_gradients_equal_those_of_trl(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, lengths: list[int] | None, at_once: int
) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    monkeypatch.setattr(head, "_APART_TRAINED", 3)
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", at_once)
    ids = torch.randint(5, 40_000, (2, 12), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[0, :3] = labels[1, 9:] = -100
    inputs = {"input_ids": ids}
    if lengths is not None:
        inputs["attention_mask"] = (torch.arange(12) < torch.tensor(lengths)[:, None]).long()
        labels[inputs["attention_mask"] == 0] = -100
    given = []
    for replace in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tiny_base)
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if replace:
            head._replace_head(model, 1.0, share=False, with_statistics=True)
        out = model(**inputs, labels=labels, fused_lm_head=True)
        (out.log_probs * torch.linspace(1, 2, 11)).sum().backward()
        given.append((out, [p.grad for p in model.parameters()]))
    (theirs, their_grads), (ours, our_grads) = given
    for name in ("loss", "log_probs", "entropy", "mean_logits", "is_top1", "label_mask"):
        torch.testing.assert_close(ours[name], theirs[name], msg=name)
    for mine, other in zip(our_grads, their_grads, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


def test_rows_go_apart_where_padding_would_cost_more() -> None:
    assert head.apart([100, 90, 95], 48) == [[0, 1, 2]]
    assert head.apart([30, 250], 48) == [[1], [0]]
    assert head.apart([200, 20, 210, 22], 48) == [[0, 2], [1, 3]]
    assert head.apart([200, 20, 210, 22], 500) == [[0, 1, 2, 3]]
