"""Answers are drawn from the model's own distribution, and by nothing but seed, step, row and position."""

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - tests of a module that only job processes import

from models.drawing import at, numbers
from training import drawing


def test_every_token_gets_its_share_of_the_numbers() -> None:
    shares = torch.tensor([0.0, 0.5, 0.0, 0.3, 0.2, 0.0])
    places = (torch.arange(1000, dtype=torch.float64)[:, None] + 0.5) / 1000
    drawn = at(places, shares.expand(1000, -1))
    assert drawn.flatten().bincount(minlength=6).tolist() == [0, 500, 0, 300, 200, 0]


def test_numbers_are_of_seed_step_row_and_place_alone() -> None:
    whole = numbers(7, 3, range(8), 16)
    assert torch.equal(numbers(7, 3, range(4, 8), 16), whole[4:])
    assert torch.equal(numbers(7, 3, range(8), 5), whole[:, :5])
    assert whole.min() >= 0 and whole.max() < 1
    others = [numbers(8, 3, range(8), 16), numbers(7, 4, range(8), 16)]
    values = torch.cat([whole, *others]).flatten()
    assert len(values.unique()) == len(values)
    assert numbers(1, 0, range(20_000), 1).mean() == pytest.approx(0.5, abs=0.01)


@pytest.fixture
def answer(tiny_base: Path) -> Any:
    """Answers of the tiny model to rows of two tokens, some with one pad before them."""
    from training.weights import load

    model = load(tiny_base, torch.float32)

    def answer(rows: range, pads: int = 0, **sampling: float) -> torch.Tensor:
        settings = {"temperature": 1.0, "top_p": 1.0, **sampling}
        ids = torch.tensor([[0] * pads + [30 + row, 40] for row in rows])
        drawn = drawing.Drawn(numbers(5, 2, rows, 12), **settings)
        with drawing.drawn_by(model, drawn):
            made: torch.Tensor = model.generate(
                input_ids=ids,
                attention_mask=(torch.arange(ids.shape[1]) >= pads).long().expand(ids.shape),
                do_sample=True,
                top_k=0,
                max_new_tokens=12,
                eos_token_id=None,
                pad_token_id=0,
                **settings,
            )
        assert "generate" not in vars(model)
        return made[:, ids.shape[1] :]

    return answer


def test_answers_do_not_depend_on_neighbours_pads_or_dice(answer: Any) -> None:
    together = answer(range(8))
    torch.manual_seed(99)
    assert torch.equal(torch.cat([answer(range(5)), answer(range(5, 8), pads=3)]), together)
    assert len(together.unique()) > 20


def test_temperature_and_top_p_are_kept_to(answer: Any) -> None:
    greedy = answer(range(4), temperature=1e-4)
    assert torch.equal(answer(range(4), top_p=1e-6), greedy)
    assert not torch.equal(answer(range(4)), greedy)
