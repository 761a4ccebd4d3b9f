"""Exhaustion, decided before a row is written: what each policy plans, and what it refuses."""

from typing import Any

import numpy as np
import pytest

from corpora.mixing.mixture import members_of
from corpora.mixing.scheduler import Schedule
from corpora.mixing.shares import Plan, make_plan, tempered
from lineage.errors import CorpusError
from recipes.mixtures import Mixture

HOLDINGS = {"domain": {"sums": 300}, "general": {"chat": 900, "web": 300}}


def mixture(size: int, **fields: Any) -> Mixture:
    given = {"shares": {"general": 0.6, "domain": 0.4}, "size": size, "max_length": 64, "seed": 1, **fields}
    return Mixture.model_validate(given)


def test_sources_of_a_group_share_by_what_they_hold() -> None:
    plan = make_plan(mixture(500), HOLDINGS)
    assert plan.within["general"] == {"chat": 0.75, "web": 0.25}
    assert (plan.size, plan.groups) == (500, {"domain": 0.4, "general": 0.6})


def test_shares_within_a_group_are_taken_from_the_recipe() -> None:
    plan = make_plan(mixture(500, within={"general": {"chat": 0.1, "web": 0.9}}), HOLDINGS)
    assert plan.within["general"] == {"chat": 0.1, "web": 0.9}


def test_all_that_there_is_can_be_asked_for() -> None:
    assert make_plan(mixture(750), HOLDINGS).size == 750


def test_error_says_which_source_lacks_how_much_and_what_to_do() -> None:
    with pytest.raises(CorpusError) as caught:
        make_plan(mixture(1000, within={"general": {"chat": 0.1, "web": 0.9}}), HOLDINGS)
    message = str(caught.value)
    assert "group 'domain', source 'sums': needs 400 supervised tokens, has 300, lacks 100" in message
    assert "group 'general', source 'web': needs 540 supervised tokens, has 300, lacks 240" in message
    assert "'chat'" not in message
    assert "size to at most 555, or exhaustion to 'repeat' with max_epochs of at least 1.8" in message


def test_repeat_plans_within_its_passes_and_refuses_beyond() -> None:
    assert make_plan(mixture(1500, exhaustion="repeat", max_epochs=2), HOLDINGS).size == 1500
    with pytest.raises(CorpusError, match=r"'sums': needs 800 .*, has 600 in 2 passes, lacks 200"):
        make_plan(mixture(2000, exhaustion="repeat", max_epochs=2), HOLDINGS)


def test_stop_ends_where_the_first_source_runs_out() -> None:
    plan = make_plan(mixture(5000, exhaustion="stop"), HOLDINGS)
    assert (plan.size, plan.groups["domain"]) == (750, 0.4)


def test_renormalise_gives_the_rest_to_the_others_in_proportion() -> None:
    plan = make_plan(mixture(1000, exhaustion="renormalise"), HOLDINGS)
    assert plan.size == 1000
    assert plan.groups == pytest.approx({"domain": 0.3, "general": 0.7})
    plan = make_plan(mixture(1000, exhaustion="renormalise", within={"general": {"chat": 0.1, "web": 0.9}}), HOLDINGS)
    assert plan.within["general"] == pytest.approx({"chat": 400 / 700, "web": 300 / 700})


@pytest.mark.parametrize("size", [749, 750, 751])
def test_no_row_is_used_twice_when_all_of_a_source_is_asked_for(size: int) -> None:
    units = {"sums": np.full(100, 3), "chat": np.full(300, 3), "web": np.full(100, 3)}
    plan = make_plan(mixture(size, exhaustion="stop"), HOLDINGS)
    picks = Schedule(members_of(plan, 1, units)).take(1000)
    rows = list(zip(picks.member.tolist(), picks.row.tolist(), strict=True))
    assert len(rows) == len(set(rows))
    assert abs(3 * len(rows) - plan.size) <= 3
    assert set(picks.epoch.tolist()) == {0}


def test_renormalise_ends_when_everything_is_used() -> None:
    plan = make_plan(mixture(9000, exhaustion="renormalise"), HOLDINGS)
    assert plan.size == 1500
    assert plan.groups == pytest.approx({"domain": 0.2, "general": 0.8})


def test_temperature_flattens_shares_that_are_not_written_out() -> None:
    plan = make_plan(mixture(100, shares={}, groups=["general", "domain"], temperature=2), HOLDINGS)
    assert plan.requested == pytest.approx({"domain": 300**0.5 / (300**0.5 + 1200**0.5), "general": 2 / 3})
    assert plan.within["general"] == pytest.approx({"chat": 30 / (30 + 300**0.5), "web": 300**0.5 / (30 + 300**0.5)})
    assert make_plan(mixture(100, shares={}, groups=["general", "domain"]), HOLDINGS).requested == {
        "domain": 0.2,
        "general": 0.8,
    }


def test_a_source_without_rows_has_no_share_at_any_temperature() -> None:
    assert tempered({"a": 10, "b": 0, "c": 10}, 5.0) == {"a": 0.5, "c": 0.5}


def test_quotas_are_whole_units_that_add_up_and_none_is_more_than_what_is_held() -> None:
    thirds = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    holds = dict.fromkeys("abc", 1000)
    assert Plan(100, {"g": 1.0}, {"g": 1.0}, {"g": thirds}, holds).quotas() == {"a": 34, "b": 33, "c": 33}
    assert Plan(100, {"g": 1.0}, {"g": 1.0}, {"g": thirds}, {**holds, "a": 33}).quotas()["a"] == 33


def test_quotas_of_groups_come_before_those_of_their_sources() -> None:
    within = {"g": {"a": 0.5, "b": 0.5}, "h": {"c": 1.0}}
    plan = Plan(101, {}, {"g": 0.5, "h": 0.5}, within, dict.fromkeys("abc", 1000))
    assert plan.quotas() == {"a": 26, "b": 25, "c": 50}
