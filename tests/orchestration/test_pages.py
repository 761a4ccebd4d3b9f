"""What the web server answers under `/temper`, and what it never does."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from assets.making import links
from assets.tracking import Tracker
from lineage.store import Store
from orchestration.known_hosts import KnownHosts
from orchestration.pages import routes
from orchestration.webserver import known_hosts
from tests.orchestration.made_pages import HTML, request, sealed, tracked


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def browser(store: Store) -> TestClient:
    app = Starlette(routes=routes(store.home), middleware=[Middleware(KnownHosts, hosts=known_hosts())])
    return TestClient(app, base_url="http://127.0.0.1:3000", follow_redirects=False)


@pytest.mark.parametrize(
    ("node", "file"),
    [("decision", "report.html"), ("mixture/mix", "data_report.html"), ("preferences/liked", "preference_report.html")],
)
def test_the_link_of_an_artefact_opens_its_page(browser: TestClient, store: Store, node: str, file: str) -> None:
    page = links(Tracker(store.home), sealed(store, node, file))["page"]
    assert page.startswith("/temper/pages/")  # on whatever host and port the link is shown
    answer = browser.get(page)
    assert (answer.status_code, answer.text) == (200, HTML)
    assert browser.head(page).status_code == 200
    assert browser.post(page).status_code == 405


def test_a_page_runs_nothing_and_loads_nothing(browser: TestClient, store: Store) -> None:
    page = links(Tracker(store.home), sealed(store, "decision", "report.html"))["page"]
    for path in (page, "/temper/pages", "/temper/pages/tiny/decision/none"):
        headers = browser.get(path).headers
        policy = {name: values for name, *values in map(str.split, headers["content-security-policy"].split(";"))}
        assert policy["default-src"] == ["'none'"]
        assert policy["sandbox"] == []
        assert "script-src" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_only_pages_of_sealed_artefacts_are_served(browser: TestClient, store: Store) -> None:
    decided = sealed(store, "decision", "report.html")
    evaluated = sealed(store, "report/base", "report.html")
    later = request("decision", "later")
    unsealed = store.work_path(later)
    unsealed.mkdir()
    (unsealed / "report.html").write_text(HTML, encoding="utf-8")
    page = f"/temper/pages/tiny/decision/{decided.fingerprint}"
    for path in (
        f"{page}/other.html",
        f"{page}/../{decided.fingerprint}/report.html",
        f"/temper/pages/tiny/report/base/{evaluated.fingerprint}",
        f"/temper/pages/tiny/decision/{later.fingerprint}",
        f"/temper/pages/tiny/decision/{later.fingerprint}.work",
        f"/temper/pages/other/decision/{decided.fingerprint}",
        f"/temper/pages/tiny/%2e%2e/tiny/decision/{decided.fingerprint}",
        f"/temper/pages//{store.home}/objects/tiny/decision/{decided.fingerprint}",
        "/temper/mlflow/..%2f..%2frefs",
        "/temper/else",
    ):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text.count(".") >= 1


def test_a_page_that_was_changed_after_it_was_sealed_is_not_served(browser: TestClient, store: Store) -> None:
    decided = sealed(store, "decision", "report.html")
    (decided.path / "report.html").write_text(HTML.replace("Decided", "Changed"), encoding="utf-8")
    answer = browser.get(f"/temper/pages/tiny/decision/{decided.fingerprint}")
    assert answer.status_code == 410
    assert "make tiny/decision again" in answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "", "[::1"])
def test_another_name_of_this_machine_is_refused(browser: TestClient, host: str) -> None:
    assert browser.get("/temper/pages", headers={"Host": host}).status_code == 403


def test_loopback_and_the_name_that_the_user_gives_are_known(
    store: Store, monkeypatch: pytest.MonkeyPatch, browser: TestClient
) -> None:
    for host in ("localhost:3000", "127.0.0.1", "[::1]:3000"):
        assert browser.get("/temper/pages", headers={"Host": host}).status_code == 200
    monkeypatch.setenv("TEMPER_DAGSTER_URL", "https://temper.example/")
    assert "temper.example" in known_hosts()


def test_the_list_has_every_page_newest_first(browser: TestClient, store: Store) -> None:
    assert "run a recipe first" in browser.get("/temper/pages").text
    sealed(store, "decision", "report.html", "second", "2026-01-03T00:00:00+00:00", verdict="pass")
    sealed(store, "mixture/mix", "data_report.html", "mix", "2026-01-01T00:00:00+00:00")
    sealed(store, "decision", "report.html", "first", "2026-01-02T00:00:00+00:00", verdict="fail")
    rows = browser.get("/temper/pages").text.split("<tr>")[2:]
    said = [word for row in rows for word in ("pass", "fail", "checks passed") if f">{word}<" in row]
    assert said == ["pass", "fail", "checks passed"]
    assert all('href="/temper/pages/tiny/' in row for row in rows)


def test_the_link_to_mlflow_leads_to_the_run_wherever_mlflow_is_served(
    browser: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(store.home)
    run_id = tracked(tracker, "decision")
    link = links(tracker, sealed(store, "decision", "report.html"))["mlflow"]
    for address in ("http://127.0.0.1:5000", "http://127.0.0.1:5001"):
        monkeypatch.setenv("TEMPER_MLFLOW_URL", address)
        assert browser.get(link).headers["location"] == f"{address}/#/experiments/1/runs/{run_id}"
