"""A forward pass for machines without Triton: it scores only the positions that the loss counts, and pads little.

TRL's own fused head does so where it has Triton. Elsewhere it scores every position, prompts and pads
included, and on a CPU the passes over a vocabulary of 49,152 are what a step of a small model is made of.
Rows of a batch that differ much in length, as the two answers of a preference pair do, go through the model apart:
where no kernel launch has to be waited for, a pad costs what a token does.
The values are the same; TRL's trainers ask for them in the same way and notice no difference.
"""

import functools
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from torch.utils.checkpoint import checkpoint  # noqa: TID253
from trl.trainer.utils import FusedCausalLMOutput  # noqa: TID253

from training.losses import shared_prompts
from training.rows import NOT_SUPERVISED

_SCALED = ("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
"""Settings of models whose logits are not the plain product with the head; these stay with TRL."""

_APART, _APART_TRAINED = 48, 128
"""Slots that must stay unpadded before rows go through the model apart: what reading all weights once more costs, and
what adding up gradients of all of them does (a 135M model on two cores)."""

_LOGITS_AT_ONCE = 1 << 27
"""Logits held at a time (512 MiB in float32). More are scored in chunks, and once again in the backward pass."""


def score_only_supervised(trainer: Any, answers_share_prompts: bool = False) -> None:
    """Give a trainer's model, and its reference model if it has one, this head where TRL's lacks Triton.

    answers_share_prompts: rows are several answers to each of a few prompts, and nothing after an answer counts.
    """
    if trainer.args.device.type == "cuda":
        return
    peft = hasattr(trainer.model, "get_base_model")
    temperature = getattr(trainer.args, "temperature", 1.0)
    model = trainer.model.get_base_model() if peft else trainer.model
    share = answers_share_prompts and shared_prompts.possible(model)
    _replace_head(model, temperature, share, with_statistics=True)
    if getattr(trainer, "ref_model", None) is not None:
        _replace_head(trainer.ref_model, temperature, share, with_statistics=False)


def _replace_head(model: Any, temperature: float, share: bool, with_statistics: bool) -> None:
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
        kwargs = {name: value for name, value in kwargs.items() if value is not None}  # PEFT names all there are
        labels = kwargs.pop("labels")[:, 1:]
        counted = labels != NOT_SUPERVISED
        hidden = None
        if share and not args and set(kwargs) == {"input_ids", "attention_mask"}:
            hidden = shared_prompts.hidden(model.base_model, **kwargs, counted=counted)
        if hidden is None:
            hidden = _hidden(model.base_model, args, {**kwargs, "use_cache": False}, counted)
        return _score(model.get_output_embeddings(), hidden, labels, temperature, with_statistics)

    model.forward = forward


def _hidden(backbone: Any, args: Any, kwargs: dict[str, Any], counted: torch.Tensor) -> torch.Tensor:
    """Last hidden states (counted positions, width), row by row."""
    if args or set(kwargs) != {"input_ids", "attention_mask", "use_cache"} or not _right_padded(kwargs):
        states: torch.Tensor = backbone(*args, **kwargs).last_hidden_state[:, :-1]
        return states[counted]
    lengths = kwargs["attention_mask"].sum(1).tolist()
    of_row: dict[int, torch.Tensor] = {}
    all_trained = backbone.get_input_embeddings().weight.requires_grad
    for rows in apart(lengths, _APART_TRAINED if all_trained else _APART):
        longest = max(lengths[row] for row in rows)
        cut = {name: kwargs[name][rows, :longest] for name in ("input_ids", "attention_mask")}
        states = backbone(**cut, use_cache=False).last_hidden_state
        for place, row in enumerate(rows):
            of_row[row] = states[place, :-1][counted[row, : longest - 1]]
    return torch.cat([of_row[row] for row in range(len(lengths))])


def _right_padded(kwargs: dict[str, Any]) -> bool:
    mask = kwargs["attention_mask"]
    return mask is not None and mask.dim() == 2 and bool((mask[:, :-1] >= mask[:, 1:]).all()) and bool(mask[:, 0].all())


def apart(lengths: list[int], cost: int) -> list[list[int]]:
    """Rows (by number) in groups: a row opens a new one where joining the last would pad more slots than that costs."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    groups: list[list[int]] = []
    for place, row in enumerate(order):
        left = len(order) - place
        if not groups or left * (lengths[groups[-1][0]] - lengths[row]) > cost:
            groups.append([])
        groups[-1].append(row)
    return [sorted(group) for group in groups]


def _score(
    head: Any, hidden: torch.Tensor, labels: torch.Tensor, temperature: float, with_statistics: bool
) -> FusedCausalLMOutput:
    """Log-probabilities, and what TRL logs, of labels (rows, length); 0 where a label is not counted.

    hidden: (counted labels, width).
    """
    counted = labels != NOT_SUPERVISED
    wanted = labels[counted].long()
    at_once = max(1, _LOGITS_AT_ONCE // head.weight.shape[0])
    if len(wanted) <= at_once:
        scores = _scores(head, hidden, wanted, temperature, with_statistics)
    else:
        pieces = zip(hidden.split(at_once), wanted.split(at_once), strict=True)
        chunks = [
            checkpoint(_scores, head, *piece, temperature, with_statistics, use_reentrant=False) for piece in pieces
        ]
        scores = {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}
    mean = -scores["log_probs"].sum() / counted.sum().clamp(min=1)
    spread = {name: values.new_zeros(counted.shape).masked_scatter(counted, values) for name, values in scores.items()}
    return FusedCausalLMOutput(loss=mean, label_mask=counted, **spread)


def _scores(
    head: Any, hidden: torch.Tensor, wanted: torch.Tensor, temperature: float, with_statistics: bool
) -> dict[str, torch.Tensor]:
    logits = head(hidden).float() / temperature
    scores: dict[str, torch.Tensor] = {"log_probs": _LogProbs.apply(logits, wanted)}
    if with_statistics:
        with torch.no_grad():
            log_z = logits.logsumexp(-1)
            scores["entropy"] = log_z - torch.linalg.vecdot(logits.softmax(-1), logits)
            scores["mean_logits"] = logits.mean(-1)
            scores["is_top1"] = logits.argmax(-1) == wanted
    return scores


class _LogProbs(torch.autograd.Function):  # type: ignore[misc]
    """Log-softmax at the wanted tokens; its backward pass writes the gradient where the logits were."""

    @staticmethod
    def forward(context: Any, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        log_z = logits.logsumexp(-1)
        context.save_for_backward(logits, log_z, wanted)
        return logits.gather(-1, wanted[:, None])[:, 0] - log_z

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        logits, log_z, wanted = context.saved_tensors
        of_logits = logits.sub_(log_z[:, None]).exp_().mul_(-gradient[:, None])
        return of_logits.scatter_add_(-1, wanted[:, None], gradient[:, None]), None
