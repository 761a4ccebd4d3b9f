"""An LM head for machines without Triton: it scores only the positions that the loss counts.

TRL's own fused head does so where it has Triton. Elsewhere it scores every position, prompts and pads
included, and on a CPU the passes over a vocabulary of 49,152 are what a step of a small model is made of.
The values are the same; TRL's trainers ask for them in the same way and notice no difference.
"""

import functools
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from trl.trainer.utils import FusedCausalLMOutput  # noqa: TID253

from training.rows import NOT_SUPERVISED

_SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
"""Settings of models whose logits are not the plain product with the head; these stay with TRL."""


def score_only_supervised(trainer: Any) -> None:
    """Give a trainer's model, and its reference model if it has one, this head where TRL's lacks Triton."""
    if trainer.args.device.type == "cuda":
        return
    peft = hasattr(trainer.model, "get_base_model")
    temperature = getattr(trainer.args, "temperature", 1.0)
    _replace_head(trainer.model.get_base_model() if peft else trainer.model, temperature, with_statistics=True)
    if getattr(trainer, "ref_model", None) is not None:
        _replace_head(trainer.ref_model, temperature, with_statistics=False)


def _replace_head(model: Any, temperature: float, with_statistics: bool) -> None:
    config = model.config.get_text_config()
    if any(getattr(config, name, None) is not None for name in _SCALED) or getattr(
        config, "output_router_logits", False
    ):
        return
    before = model.forward

    @functools.wraps(before)  # generation reads from the signature what it may hand over
    def forward(*args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return before(*args, **kwargs)
        labels = kwargs.pop("labels")[:, 1:]
        hidden = model.base_model(*args, **{**kwargs, "use_cache": False}).last_hidden_state[:, :-1]
        return _score(model.get_output_embeddings(), hidden, labels, temperature, with_statistics)

    model.forward = forward


def _score(
    head: Any, hidden: torch.Tensor, labels: torch.Tensor, temperature: float, with_statistics: bool
) -> FusedCausalLMOutput:
    """Log-probabilities, and what TRL logs, of labels (rows, length); 0 where a label is not counted."""
    counted = labels != NOT_SUPERVISED
    wanted = labels[counted].long()
    logits = head(hidden[counted]).float() / temperature
    log_z = logits.logsumexp(-1)
    log_probs = logits.gather(-1, wanted[:, None])[:, 0] - log_z

    def spread(values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(counted.shape).masked_scatter(counted, values)

    statistics: dict[str, torch.Tensor] = {}
    if with_statistics:
        with torch.no_grad():
            entropy = log_z - ((logits - log_z[:, None]).exp() * logits).sum(-1)
            statistics["entropy"] = spread(entropy)
            statistics["mean_logits"] = spread(logits.mean(-1))
            statistics["is_top1"] = spread(logits.argmax(-1) == wanted)
    mean = -log_probs.sum() / counted.sum().clamp(min=1)
    return FusedCausalLMOutput(loss=mean, log_probs=spread(log_probs), label_mask=counted, **statistics)
