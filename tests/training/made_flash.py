"""Flash attention's two functions as a CPU can compute them, in the place where transformers loads the real ones."""

from itertools import pairwise
from typing import Any

import pytest


def dense(q: Any, k: Any, v: Any, softmax_scale: float | None = None, causal: bool = False, **_: Any) -> Any:
    """Rows (batch, length, heads, width) side by side: a token sees all that is before it in its row."""
    from torch.nn.functional import scaled_dot_product_attention

    by_head = (part.transpose(1, 2) for part in (q, k, v))
    found = scaled_dot_product_attention(*by_head, is_causal=causal, scale=softmax_scale, enable_gqa=True)
    return found.transpose(1, 2)


def varlen(
    q: Any,
    k: Any,
    v: Any,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    max_seqlen_q: int,
    max_seqlen_k: int,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Any:
    """Sequences (tokens of all, heads, width) end to end, each from one place of `cu_seqlens_q` to the next."""
    import torch

    ends = cu_seqlens_q.tolist()
    assert cu_seqlens_k.tolist() == ends
    assert max(b - a for a, b in pairwise(ends)) <= min(max_seqlen_q, max_seqlen_k)
    parts = ([whole[a:b][None] for whole in (q, k, v)] for a, b in pairwise(ends))
    return torch.cat([dense(*part, softmax_scale=softmax_scale, causal=causal)[0] for part in parts])


def install(patch: pytest.MonkeyPatch) -> None:
    """Let `attention: flash_attention_2` be computed by these."""
    import transformers.modeling_flash_attention_utils as flash

    loaded = (dense, varlen, None, flash._pad_input, flash._unpad_input)
    patch.setattr(flash, "_loaded_implementation", None)
    patch.setattr(flash, "_lazy_imports", lambda *_, **__: loaded)
    patch.setattr("transformers.modeling_utils.PreTrainedModel._flash_attn_can_dispatch", lambda *_, **__: True)
    patch.setattr("training.kernels.must_be_there", lambda _: None)
