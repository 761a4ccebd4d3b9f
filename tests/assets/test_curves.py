"""A training's history becomes curves that fit into a line of metadata."""

import json
from pathlib import Path

from assets.curves import curve, sparkline
from lineage.node import as_code
from lineage.store import Artifact


def test_bars_follow_the_values() -> None:
    assert sparkline([0.0, 1.0, 2.0]) == "▁▅█"
    assert sparkline([3.0] * 100) == "▁" * 34


def test_a_history_and_samples_are_shown_and_their_absence_is_not(tmp_path: Path) -> None:
    checkpoint = Artifact("tiny", "sft", "f" * 64, "d" * 64, tmp_path)
    assert curve(checkpoint) == {}
    history = [{"loss": 2.0, "grad_norm": 1.0, "logps/chosen": -9.0}, {"loss": 1.0, "grad_norm": 0.5}]
    (tmp_path / "history.json").write_text(json.dumps(history))
    samples = [{"step": step, "prompt": "2 + 2?", "answer": f"it is\n{step}"} for step in (4, 8)]
    (tmp_path / "samples.json").write_text(json.dumps(samples))
    shown = curve(checkpoint)
    assert shown["loss_curve"] == "`█▁` 2.000 → 1.000"
    assert shown["curves"].splitlines()[2:] == [
        "| loss | `█▁` | 2 | 1 |",
        "| gradient norm | `█▁` | 1 | 0.5 |",
        "| log-probability of chosen | `▁` | -9 | -9 |",
    ]
    assert shown["samples"] == "after step 8:\n- `2 + 2?`\n    - `it is\\n8`"


def test_nothing_that_a_model_says_is_a_picture_or_a_link() -> None:
    for text in ("![x](http://a/b.png)", "`![x](http://a/b.png)`", "``` [x](http://a) ```", "a\n\n![x](http://a)"):
        shown = as_code(text)
        assert shown[0] == shown[-1] == "`" and "`" not in shown[1:-1] and "\n" not in shown
