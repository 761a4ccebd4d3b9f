"""SimPO on pairs: the paper's loss, rewards that come apart, what it refuses."""

from pathlib import Path

import pytest
import torch  # noqa: TID253
from made_jobs import falls, run_here, simpo_job

from recipes.errors import DONE, REFUSED
from recipes.stages import Simpo
from training.stages import simpo


def test_rewards_come_apart(tiny_base: Path, tmp_path: Path) -> None:
    job = simpo_job(tiny_base, tmp_path, epochs=2.0, checkpoint_steps=50)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None and found.failed_checks == []
    assert set(found.metrics["checks"]) == {
        "pairs_untouched",
        "loss_is_the_papers",
        "reload_equal",
        "served_as_trained",
    }
    assert found.metrics["margins"]["last"] > found.metrics["margins"]["first"]
    assert falls(found)


def test_the_formula_is_eq_6() -> None:
    chosen, rejected = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -0.5])
    margins = [2 * 0.5 - 0.3, 2 * -1.5 - 0.3]
    by_hand = sum(float(torch.log1p(torch.exp(-torch.tensor(margin)))) for margin in margins) / 2
    assert float(simpo.loss(chosen, rejected, beta=2.0, gamma=0.3)) == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.invariants
@pytest.mark.parametrize("bug", [{"cpo_alpha": 1.0}, {"simpo_gamma": 0.0}, {"loss_type": "sigmoid"}])
def test_another_loss_is_refused(
    tiny_base: Path,
    tmp_path: Path,
    bug: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """TRL's defaults add the chosen answers' own loss, and leave the margin out."""
    from trl.experimental import cpo

    config = cpo.CPOConfig
    monkeypatch.setattr(cpo, "CPOConfig", lambda **given: config(**{**given, **bug}))
    assert run_here(simpo_job(tiny_base, tmp_path)) == REFUSED
    assert "the paper's formula gives" in capsys.readouterr().out


def test_settings_of_cpo_are_refused_with_what_they_are() -> None:
    fields = {"kind": "simpo", "start": "base", "preferences": "p", "learning_rate": 1e-6, "batch_rows": 4, "seed": 0}
    with pytest.raises(ValueError, match="simpo_gamma: the recipe has a field for it: gamma"):
        Simpo.model_validate({**fields, "args": {"simpo_gamma": 1.0}})
    with pytest.raises(ValueError, match="cpo_alpha: CPO's weight of the chosen answers' own loss"):
        Simpo.model_validate({**fields, "args": {"cpo_alpha": 1.0}})
