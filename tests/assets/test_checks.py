"""Declared checks and what is reported for them."""

from assets.checks import declared
from assets.handles import results

_GOOD = {"passed": True, "blocking": True, "value": 1, "description": ""}


def test_silence_is_not_a_pass() -> None:
    [result] = results("report", {})
    assert not result.passed


def test_a_reported_check_is_passed_on() -> None:
    checks = {name: _GOOD for name in declared("sft")} | {"reload_equal": {**_GOOD, "passed": False}}
    failed = [result.check_name for result in results("sft", {"checks": checks}) if not result.passed]
    assert failed == ["reload_equal"]


def test_full_fine_tuning_has_no_adapter_to_check() -> None:
    checks = {name: _GOOD for name in declared("sft") if name != "merged_equals_adapter"}
    assert all(result.passed for result in results("sft", {"checks": checks}))
