"""The page on which people judge: who may come in, what answers can do there, and what a kill costs."""

import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from corpora.feedback.asking import Ask, Plan
from corpora.labels.events import Answer, Event, Question, rows, standing
from corpora.labels.store import Labels
from lineage.errors import CorpusError
from orchestration.known_hosts import LOOPBACK
from orchestration.labelling.app import LARGEST, Labelling, application
from orchestration.labelling.rendering import SHOWN, markdown
from orchestration.labelling.serving import names_of, origin_of, serve
from tests.corpora.made import write_jsonl
from tests.orchestration.servers import ROOT, free_port

TOKEN = "a-token-of-the-tests"
HERE = "http://127.0.0.1:8123"
ORIGIN = {"Origin": HERE}
LABEL = [sys.executable, "-m", "orchestration", "label", "tone"]


def question(asked: str, *answers: str, **fields: Any) -> Question:
    given = [Answer({"role": "assistant", "content": text}) for text in answers]
    return Question([{"role": "user", "content": asked}], given, **fields)


def client(home: Path, *questions: Question, ask: Ask = "choice", name: str | None = "Ada", **more: Any) -> TestClient:
    """A browser that has come in under a name; with None one that has not."""
    labels = Labels(home, "tone", new=True)
    labels.add_questions(questions)
    served = Labelling(labels, Plan({one.id: one for one in questions}, ask=ask), TOKEN, LOOPBACK, **more)
    browser = TestClient(application(served), base_url=HERE)
    if name is not None:
        entered = browser.post("/enter", json={"annotator": name, "token": TOKEN}, headers=ORIGIN)
        assert entered.status_code == 204
        assert all("HttpOnly" in one and "SameSite=strict" in one for one in entered.headers.get_list("set-cookie"))
    return browser


def said(browser: TestClient, kind: str, asked: str | None, payload: dict[str, Any], **more: Any) -> Any:
    sent = {"id": str(uuid.uuid4()), "annotator": "Ada", "kind": kind, "question": asked, "payload": payload, **more}
    return browser.post("/judgements", json=sent, headers=ORIGIN)


def asked_on(html: str) -> str:
    found = re.search(r'data-question="(\w+)"', html)
    assert found is not None
    return found[1]


def sides(html: str) -> list[str]:
    return re.findall(r'data-answer="(\w+)"', html)


ONE, TWO = question("first?", "yes", "no"), question("second?", "left", "right")


def test_nobody_comes_in_without_the_token(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE, name=None)
    shown = browser.get("/")
    assert shown.status_code == 401 and "first?" not in shown.text and 'data-page="enter"' in shown.text
    assert browser.post("/enter", json={"annotator": "Ada", "token": "x"}, headers=ORIGIN).status_code == 401
    assert browser.post("/enter", json={"annotator": " ", "token": TOKEN}, headers=ORIGIN).status_code == 422
    assert said(browser, "skip", ONE.id, {}).status_code == 401
    browser.cookies.set("temper_annotator", "Ada")
    browser.cookies.set("temper_label_tone", "x")
    assert browser.get("/").status_code == 401 and said(browser, "skip", ONE.id, {}).status_code == 401
    assert Labels(tmp_path, "tone").events() == []


def test_another_name_or_origin_is_refused(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE)
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 403
    event = {"id": "e1", "annotator": "Ada", "kind": "skip", "question": ONE.id}
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:8124"}):
        assert browser.post("/judgements", json=event, headers=headers).status_code == 403
        assert browser.post("/enter", json={"annotator": "Eve", "token": TOKEN}, headers=headers).status_code == 403
    assert browser.post("/judgements", json={**event, "annotator": "Bo"}, headers=ORIGIN).status_code == 403
    assert Labels(tmp_path, "tone").events() == []


PUBLIC = "https://label.example.com"


@pytest.mark.parametrize("host", ["label.example.com", "label.example.com:443", "127.0.0.1:8123"])
def test_a_proxy_brings_people_from_elsewhere(tmp_path: Path, host: str) -> None:
    """One that keeps the host that the browser asked for, and one that names ours."""
    labels = Labels(tmp_path, "tone", new=True)
    labels.add_questions([ONE])
    served = Labelling(labels, Plan({ONE.id: ONE}), TOKEN, LOOPBACK | {"label.example.com"}, origin=PUBLIC)
    browser = TestClient(application(served), base_url=PUBLIC, headers={"Host": host})
    entry = {"annotator": "Ada", "token": TOKEN}
    for origin in ("https://evil.example", "https://label.example.com.evil.example", "null"):
        assert browser.post("/enter", json=entry, headers={"Origin": origin}).status_code == 403
    entered = browser.post("/enter", json=entry, headers={"Origin": PUBLIC})
    cookies = entered.headers.get_list("set-cookie")
    assert entered.status_code == 204 and len(cookies) == 2 and all("; Secure" in one for one in cookies)
    event = {"id": "e1", "annotator": "Ada", "kind": "skip", "question": ONE.id}
    sent = browser.post("/judgements", json=event, headers={"Origin": PUBLIC})
    assert browser.get("/").status_code == sent.status_code == 200
    assert browser.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_without_tls_a_cookie_is_for_any_connection(tmp_path: Path) -> None:
    entered = client(tmp_path, ONE).post("/enter", json={"annotator": "Ada"}, headers=ORIGIN)
    assert len(entered.headers.get_list("set-cookie")) == 2 and "Secure" not in entered.headers["set-cookie"]


def test_a_server_on_all_addresses_answers_to_those_of_its_machine() -> None:
    for everywhere in ("0.0.0.0", "::"):
        known = names_of(everywhere)
        assert {*LOOPBACK, socket.gethostname().lower(), socket.getfqdn().lower()} <= known
        assert {str(one[4][0]).partition("%")[0] for one in socket.getaddrinfo(socket.gethostname(), None)} <= known
    assert names_of("192.0.2.7") == LOOPBACK | {"192.0.2.7", socket.gethostname().lower()}


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Label.example.com/", PUBLIC),
        ("https://label.example.com:443", PUBLIC),
        ("http://label.example.com:8080", "http://label.example.com:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[2001:db8::1]:80", "http://[2001:db8::1]"),
    ],
)
def test_a_public_url_is_known_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["label.example.com", "https://", "ftp://a", "https://a/b", "https://a?b", "https://u@a", "https://a:99999"]
)
def test_what_is_no_origin_is_no_public_url(url: str) -> None:
    with pytest.raises(CorpusError, match=f"^--public-url {re.escape(url)}: expected"):
        origin_of(url)


def served_with(home: Path, **changed: Any) -> None:
    fields: dict[str, Any] = {"instructions": None, "host": "127.0.0.1", "port": 0, "public_url": None, "token": None}
    serve(home, "tone", None, ask="choice", at_random=0.3, judges=1, sensitive=False, **{**fields, **changed})


@pytest.mark.parametrize(
    "token", ["too-short", "with blanks in it", 'with"quotes"in-it', "кириллица_кириллица", "a" * 16 + "\n"]
)
def test_a_token_that_a_link_would_not_carry_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(CorpusError, match=r"^--token needs 16 or more of the characters A-Z a-z 0-9 _ \. ~ -") as told:
        served_with(tmp_path, token=token)
    assert token not in str(told.value) and not (tmp_path / "labels").exists()


def test_instructions_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.md").write_bytes("Grüße".encode("latin-1"))
    for name, why in (("latin.md", "no UTF-8 text at byte 2"), (".", "Is a directory"), ("none.md", "No such file")):
        file = tmp_path / name
        with pytest.raises(CorpusError, match=f"^--instructions {re.escape(str(file))}: {why}"):
            served_with(tmp_path, instructions=file)


def test_an_export_to_a_folder_names_it(tmp_path: Path) -> None:
    labels = Labels(tmp_path, "tone", new=True)
    labels.add_questions([ONE])
    labels.add(Event("e1", "Ada", "choice", ONE.id, {"choice": "tie"}))
    target = tmp_path / "there"
    target.mkdir()
    environment = {**os.environ, "TEMPER_HOME": str(tmp_path)}
    told = subprocess.run([*LABEL, "--export", str(target)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert told.returncode != 0 and f"--export {target}: Is a directory" in told.stderr
    assert "Traceback" not in told.stderr and list(target.iterdir()) == []


@pytest.mark.parametrize("disconnected", ["/judgements", "/feedback", "/enter"])
def test_a_client_that_goes_away_leaves_no_traceback(tmp_path: Path, disconnected: str) -> None:
    browser = client(tmp_path, ONE)
    headers = {"host": "127.0.0.1:8123", "origin": HERE, "authorization": f"Bearer {TOKEN}"}
    headers["cookie"] = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    scope = {"type": "http", "method": "POST", "path": disconnected, "query_string": b"", "http_version": "1.1"}
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    received = iter([{"type": "http.request", "body": b'{"id"', "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(browser.app(scope, receive, send))
    assert sent[0]["status"] == 400 and Labels(tmp_path, "tone").events() == []


def test_what_is_not_asked_now_is_not_judged(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE)
    hidden = question("hidden?", "yes", "no", sensitive=True)
    Labels(tmp_path, "tone").add_questions([hidden, TWO])
    stars = {"stars": dict.fromkeys(ONE.by_id, 4)}
    for kind, asked, payload, named in (
        ("choice", hidden, {"choice": "tie"}, "question: it is not among those asked now"),
        ("skip", TWO, {}, "question: it is not among those asked now"),
        ("stars", ONE, stars, "kind: 'choice' is asked now, not 'stars'"),
    ):
        answer = said(browser, kind, asked.id, payload)
        assert (answer.status_code, answer.json()["error"]) == (422, named)
    assert Labels(tmp_path, "tone").events() == []
    kept = Event("e1", "Ada", "stars", ONE.id, stars)
    Labels(tmp_path, "tone").add(kept)
    assert said(browser, "stars", ONE.id, stars, id="e1").json() == {"saved": "e1"}
    assert said(browser, "stars", ONE.id, {}, id="e1").status_code == 422
    assert Labels(tmp_path, "tone").events()[0].content == kept.content


def test_every_answer_of_the_server_forbids_the_browser_what_it_does_not_need(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE)
    for path in ("/", "/enter", "/static/label.js", "/nothing", "/docs", "/openapi.json"):
        headers = browser.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert browser.get("/docs").status_code == browser.get("/static/../app.py").status_code == 404
    html = browser.get("/").text
    assert not re.search(r"<script(?! src=\"/static/label.js\" defer)|\son\w+=|style=|https?:", html)


def test_a_choice_is_kept_by_answer_and_the_next_question_comes(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE, TWO)
    html = browser.get("/").text
    for key, id_ in (("1", "a"), ("2", "b"), ("=", "tie"), ("0", "both_bad"), ("s", "skip"), ("u", "undo")):
        assert re.search(rf'id="{id_}"[^>]*data-key="{key}"', html)
    assert 'id="comment"' in html and "0 of 2 judged by you" in html and browser.get("/").text == html
    first, left = asked_on(html), sides(html)[0]
    assert said(browser, "choice", first, {"choice": left}, comment="clear").json().keys() == {"saved"}
    html = browser.get("/").text
    assert asked_on(html) != first and "1 of 2 judged by you" in html
    said(browser, "skip", asked_on(html), {})
    assert "nothing is left for you" in browser.get("/").text
    [event] = [one for one in Labels(tmp_path, "tone").events() if one.kind == "choice"]
    assert (event.annotator, event.payload, event.comment, event.origin) == ("Ada", {"choice": left}, "clear", "page")


def test_an_undo_brings_the_question_back(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE)
    html = browser.get("/").text
    assert re.search(r'id="undo"[^>]*disabled', html)
    saved = said(browser, "choice", ONE.id, {"choice": "tie"}, comment="a <b> word").json()["saved"]
    assert "a &lt;b&gt; word" not in html
    done = browser.get("/").text
    assert f'data-event="{saved}" data-of="{ONE.id}"' in done
    assert said(browser, "undo", None, {"event": saved}).status_code == 200
    again = browser.get("/").text
    assert asked_on(again) == ONE.id == asked_on(browser.get(f"/?question={ONE.id}").text)
    assert 'dir="auto">a &lt;b&gt; word</textarea>' in again


def test_the_same_event_twice_is_one_and_another_of_its_id_is_refused(tmp_path: Path) -> None:
    browser = client(tmp_path, ONE)
    for _ in range(2):
        assert said(browser, "choice", ONE.id, {"choice": "tie"}, id="e1").status_code == 200
    assert said(browser, "choice", ONE.id, {"choice": "both_bad"}, id="e1").status_code == 409
    assert len(Labels(tmp_path, "tone").events()) == 1


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"id": "a b"}, "id: "),
        ({"kind": "thumb"}, "kind: "),
        ({"kind": "choice", "payload": {"choice": "x"}}, "payload: "),
        ({"question": "x"}, "question: "),
        ({"payload": []}, "payload: "),
        ({"comment": "x" * 10_001}, "comment: "),
        ({"more": 1}, "more: "),
        ({"comment": "\ud800"}, ""),
    ],
)
def test_what_is_no_judgement_is_named_and_not_kept(tmp_path: Path, sent: dict[str, Any], named: str) -> None:
    browser = client(tmp_path, ONE)
    whole = {"id": "e1", "annotator": "Ada", "kind": "skip", "question": ONE.id, "payload": {}, **sent}
    answer = browser.post("/judgements", content=json.dumps(whole), headers=ORIGIN)
    assert answer.status_code == 422 and answer.json()["error"].startswith(named)
    assert browser.post("/judgements", content=b"{", headers=ORIGIN).status_code == 422
    assert Labels(tmp_path, "tone").events() == []


def test_sides_are_each_annotators_own_and_stay(tmp_path: Path) -> None:
    asked = [question(f"q{number}", "yes", "no") for number in range(24)]
    shown = {}
    for name in ("Ada", "Bo"):
        browser = client(tmp_path, *asked, name=name)
        pages = [browser.get(f"/?question={one.id}").text for one in asked]
        assert pages == [browser.get(f"/?question={one.id}").text for one in asked]
        shown[name] = [sides(page)[0] for page in pages]
    firsts = [[one.answers[0].id == first for one, first in zip(asked, shown[name], strict=True)] for name in shown]
    assert firsts[0] != firsts[1] and all(4 < sum(of_one) < 20 for of_one in firsts)


def test_what_a_model_wrote_can_do_nothing(tmp_path: Path) -> None:
    hostile = (
        "<script>alert(1)</script> <img src=x onerror=alert(1)> [a](javascript:alert(1)) [b](data:text/html,x) "
        "[c](//evil.example) [d](/judgements) ![e](http://evil.example/pixel) <https://ok.example> "
        "[f](https://ok.example 'x\" onclick=alert(1)') \u202eabc\x1b[31m\x00 `<b>`\n\n|a|\n|:-:|\n|b|\n\n"
        '```html" onload=alert(1)\n<script>\n```\n</article>{{ labels }}'
    )
    browser = client(tmp_path, question(hostile, hostile, "שלום עולם"), name="<b>Eve</b>")
    html = browser.get("/").text
    tags = re.findall(r"<[a-zA-Z][^>]*>", html)
    assert all(tag == '<script src="/static/label.js" defer>' for tag in tags if tag.startswith("<script"))
    assert not any(re.match(r"<(img|iframe|b)\b", tag) for tag in tags)
    bare = [re.sub(r'"[^"]*"', "", tag) for tag in tags if "static" not in tag]
    assert not any(re.search(r"\s(on\w+|style|src)\s*=", tag) for tag in bare)
    links = [tag for tag in tags if tag.startswith("<a ") and "/enter" not in tag]
    assert {re.search(r'href="([^"]*)"', tag)[1] for tag in links} == {  # type: ignore[index]
        "https://ok.example",
        "http://evil.example/pixel",
    }
    assert all('rel="noopener noreferrer nofollow"' in tag and 'target="_blank"' in tag for tag in links)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", html) and "␛[31m" in html
    assert '<div class="text" dir="auto"><p>שלום עולם</p>' in html and "{{ labels }}" in html


def test_a_huge_answer_is_cut_and_can_be_shown(tmp_path: Path) -> None:
    huge = "<i>word</i> " * 40_000
    browser = client(tmp_path, question("q", huge, "short"))
    began = time.perf_counter()
    html = browser.get("/").text
    assert time.perf_counter() - began < 5
    assert f"Show all {len(huge):,} characters" in html and html.count("&lt;i&gt;word") > 40_000 and "<i>" not in html


@pytest.mark.parametrize("text", ["[", "*a ", "![[]](a", "> ", "**_", "|x|y|\n|-|-|\n", "~~a", "[a]("])
def test_no_text_keeps_the_page_waiting(text: str) -> None:
    began = time.perf_counter()
    markdown((text * SHOWN)[:SHOWN])
    assert time.perf_counter() - began < 5


def test_thoughts_calls_functions_and_instructions_are_shown(tmp_path: Path) -> None:
    calls = json.dumps([{"name": "look", "arguments": {"at": "<b>"}}])
    answers = [
        Answer({"role": "assistant", "content": "<think>\nhm\n</think>\n\nso"}),
        Answer({"role": "assistant", "content": "", "tool_calls": calls}),
    ]
    asked = Question([{"role": "user", "content": "q"}], answers, json.dumps([{"name": "look"}]))
    html = client(tmp_path, asked, instructions="Be *fair*.").get("/").text
    assert "<summary>Thoughts</summary>" in html and "&#34;at&#34;: &#34;&lt;b&gt;&#34;" in html
    assert "<summary>Functions</summary>" in html and "<p>Be <em>fair</em>.</p>" in html


@pytest.mark.parametrize(("ask", "name", "most"), [("stars", "stars", 5), ("rank", "ranks", 3)])
def test_stars_and_places_are_given_to_every_answer(tmp_path: Path, ask: Ask, name: str, most: int) -> None:
    asked = question("q", "a", "b", "c")
    browser = client(tmp_path, asked, ask=ask)
    html = browser.get("/").text
    assert html.count('type="radio"') == 3 * most and 'id="save" data-key="Enter" disabled' in html
    numbers = {id_: place + 1 for place, id_ in enumerate(sides(html))}
    assert said(browser, ask, asked.id, {name: numbers}).status_code == 200
    labels = Labels(tmp_path, "tone")
    assert len(list(rows(ask, labels.events(), labels.questions()))) == (3 if ask == "stars" else 1)


def test_a_chat_product_sends_thumbs_and_edits(tmp_path: Path) -> None:
    outside = client(tmp_path, name=None)
    sent = {"id": "m1", "annotator": "user 7", "prompt": "q", "answer": "a", "thumb": "down"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": TOKEN}):
        assert outside.post("/feedback", json=sent, headers=wrong).status_code == 401
    for _ in range(2):
        assert outside.post("/feedback", json=sent, headers=headers).json() == {"saved": "m1"}
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    edit = {"id": "m2", "annotator": "user 7", "prompt": talk, "answer": "a", "edit": "b"}
    assert outside.post("/feedback", json=edit, headers=headers).status_code == 200
    labels = Labels(tmp_path, "tone")
    [thumb] = rows("thumb", labels.events(), labels.questions())
    [pair] = rows("edit", labels.events(), labels.questions())
    assert (thumb["completion"][0]["content"], thumb["label"], thumb["annotator"]) == ("a", False, "user 7")
    assert (pair["prompt"], pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == (talk, "b", "a")
    for change, status, named in (
        ({"thumb": "up"}, 409, "id 'm1'"),
        ({"id": "m3", "edit": "b"}, 422, "the body: either thumb"),
        ({"id": "m3", "thumb": None}, 422, "the body: either thumb"),
        ({"id": "m3", "thumb": "sideways"}, 422, "thumb: "),
        ({"id": "m3", "thumb": None, "edit": "a"}, 422, "edit: the words are those of the answer"),
        ({"id": "m3", "thumb": None, "edit": " a\n"}, 422, "edit: the words are those of the answer"),
        ({"id": "m3", "thumb": None, "edit": "<think>x</think>"}, 422, "edit: thoughts without an answer"),
        ({"id": "m3", "thumb": None, "edit": " "}, 422, "edit: empty"),
        ({"id": "m3", "annotator": "a\x1b[31m"}, 422, "annotator: a name has"),
        ({"id": "m3", "undo": "m1"}, 422, "prompt: Extra inputs"),
        ({"id": "m3", "prompt": []}, 422, "prompt: "),
        ({"id": "m3", "prompt": [{"role": "wizard", "content": "x"}]}, 422, "unknown role"),
        ({"id": "m3", "answer": "x" * LARGEST}, 413, "a request has at most"),
    ):
        answer = outside.post("/feedback", json={**sent, **change}, headers=headers)
        assert answer.status_code == status and answer.json()["error"].startswith(named), answer.text
    assert len(labels.events()) == 2


def test_a_chat_product_takes_back_what_its_users_took_back(tmp_path: Path) -> None:
    outside = client(tmp_path, name=None)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    said_ = {"id": "m1", "annotator": "user 7", "prompt": "q", "answer": "a", "edit": "b"}
    assert outside.post("/feedback", json=said_, headers=headers).status_code == 200
    undo = {"id": "m2", "annotator": "user 7", "undo": "m1"}
    for change, status in (({"annotator": "user 8"}, 422), ({"undo": "a b"}, 422), ({"undo": None}, 422)):
        assert outside.post("/feedback", json={**undo, **change}, headers=headers).status_code == status
    assert len(standing(Labels(tmp_path, "tone").events())) == 1
    for _ in range(2):
        assert outside.post("/feedback", json=undo, headers=headers).json() == {"saved": "m2"}
    assert standing(Labels(tmp_path, "tone").events()) == []
    assert outside.post("/feedback", content=b"[" * 100_000, headers=headers).status_code == 422


def test_a_name_is_one_however_it_was_typed(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    browser = client(tmp_path, ONE, name=unicodedata.normalize("NFD", "Zoë"))
    answer = said(browser, "choice", ONE.id, {"choice": "tie"}, annotator=unicodedata.normalize("NFD", "Zoë"))
    sent = {"id": "m1", "annotator": " Zoe\u0308", "prompt": "q", "answer": "a", "thumb": "up"}
    assert answer.status_code == browser.post("/feedback", json=sent, headers=headers).status_code == 200
    assert {event.annotator for event in Labels(tmp_path, "tone").events()} == {"Zo\u00eb"}
    assert browser.post("/enter", json={"annotator": "a" * 65, "token": TOKEN}, headers=ORIGIN).status_code == 422


ENTER_BY_PASTING = """
const listeners = {}, told = [], sent = [];
const place = (id) => ({ id, value: "Ada", focus() {},
  addEventListener(what, run) { listeners[`${id} ${what}`] = run; },
  set textContent(text) { told.push(text); } });
globalThis.document = { querySelector: () => ({ dataset: { page: "enter", labels: "tone", known: "no" } }),
  getElementById: (id) => place(id) };
globalThis.location = { hash: "", replace(to) { sent.push(to); } };
globalThis.addEventListener = (what, run) => { listeners[what] = run; };
globalThis.fetch = async (path, asked) => { sent.push(JSON.parse(asked.body)); return { ok: true }; };
require(process.argv[1]);
location.hash = "#pasted-later";
listeners.hashchange();
listeners["enter submit"]({ preventDefault() {} }).then(() => console.log(JSON.stringify({ told, sent })));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_a_link_pasted_into_the_open_page_lets_one_in() -> None:
    script = ROOT / "orchestration" / "labelling" / "static" / "label.js"
    run = subprocess.run(["node", "-e", ENTER_BY_PASTING, str(script)], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["told"] == ["Open the link that `temper label` printed.", ""]
    assert found["sent"] == [{"annotator": "Ada", "token": "pasted-later"}, "/"]


class Server:
    """`temper label`, which can be killed and started again with the same link."""

    def __init__(self, home: Path, answers: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._home, self._answers, self._token = home, answers, "sixteen_characters"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ["--answers", str(self._answers), "--port", str(self.port), "--judges", "2"]
        self._process = subprocess.Popen(
            [*LABEL, *options],
            cwd=ROOT,
            env={**os.environ, "TEMPER_HOME": str(self._home), "TEMPER_LABELS_TOKEN": self._token},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert any(line.startswith("Ctrl-C stops") for line in self._process.stdout)

    def end(self, signum: int) -> int:
        assert self._process is not None and self._process.stdout is not None
        self._process.send_signal(signum)
        status = self._process.wait(30)
        self._process.stdout.close()
        return status

    def post(self, annotator: str, event: dict[str, Any]) -> bool:
        """Whether it was acknowledged."""
        cookie = f"temper_annotator={annotator}; temper_label_tone={self._token}"
        headers = {"Origin": self.url, "Cookie": cookie}
        asked = urllib.request.Request(f"{self.url}/judgements", json.dumps(event).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=10) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        except OSError:
            return False


def test_kills_lose_nothing_that_was_acknowledged_and_double_nothing(tmp_path: Path) -> None:
    answers = [{"prompt": f"q{number}", "answers": ["yes", "no"]} for number in range(40)]
    server = Server(tmp_path, write_jsonl(tmp_path / "answers.jsonl", answers))
    server.start()
    asked = list(Labels(tmp_path, "tone").questions().values())
    assert len(asked) == 40
    acknowledged: dict[str, list[str]] = {"ada": [], "bo": []}
    unanswered: list[str] = []
    over = threading.Event()

    def judge(annotator: str) -> None:
        drawn = random.Random(annotator)
        while not over.is_set():
            one = drawn.choice(asked)
            event = {"id": str(uuid.uuid4()), "annotator": annotator, "kind": "choice", "question": one.id}
            event["payload"] = {"choice": drawn.choice([*one.by_id, "tie"])}  # type: ignore[assignment]
            while not server.post(annotator, event):
                unanswered.append(annotator)
                time.sleep(0.02)
            acknowledged[annotator].append(str(event["id"]))

    threads = [threading.Thread(target=judge, args=(name,)) for name in acknowledged]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = {name: len(ids) for name, ids in acknowledged.items()}
        while any(len(ids) < before[name] + 10 for name, ids in acknowledged.items()):
            assert all(thread.is_alive() for thread in threads)
            time.sleep(0.02)
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
        server.start()
    over.set()
    for thread in threads:
        thread.join()
    assert server.end(signal.SIGINT) == 0
    kept = Labels(tmp_path, "tone").events()
    assert len(unanswered) >= 3
    for name, ids in acknowledged.items():
        assert sorted(event.id for event in kept if event.annotator == name) == sorted(ids)
    assert len(standing(kept)) == len({(event.annotator, event.question) for event in kept})


def test_the_link_stays_the_same_and_is_its_owners_alone(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "answers.jsonl", [{"prompt": "q", "answers": ["a", "b"], "sensitive": True}])
    links = []
    kept = tmp_path / "labels" / "tone.link.json"
    for options in ([], ["--sensitive"], ["--public-url", f"{PUBLIC}/"], []):
        process = subprocess.Popen(
            [*LABEL, "--answers", str(tmp_path / "answers.jsonl"), *options],
            cwd=ROOT,
            env={**os.environ, "TEMPER_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        links.append([process.stdout.readline() for _ in range(4)])
        port = json.loads(kept.read_text())["port"]
        urllib.request.urlopen(f"http://127.0.0.1:{port}/enter", timeout=30).close()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        process.stdout.close()
        if "--public-url" in options:
            kept.write_text(json.dumps({**json.loads(kept.read_text()), "port": 99_999}))
    assert links[2][1] == links[0][1].replace(links[0][1].split()[1].split("/#")[0], PUBLIC)
    assert links[3][1] != links[0][1] and re.fullmatch(r"Page      http://127\.0\.0\.1:\d+/#\S{32}\n", links[3][1])
    assert links[0][0] == "0 questions, 1 sensitive ones left out (--sensitive)\n" and links[1][0] == "1 questions\n"
    assert links[0][1] == links[1][1] and re.fullmatch(r"Page      http://127\.0\.0\.1:\d+/#\S{32}\n", links[0][1])
    assert kept.stat().st_mode & 0o77 == 0
