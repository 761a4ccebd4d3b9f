"""Files, procedural problems and datasets in hub layout: content, identity, and one plain error for each mistake."""

import hashlib
import http.server
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from corpora.reading.lines import read_rows
from corpora.sources import fetch, fetch_model, observe
from corpora.sources.gym import is_held_out
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError
from recipes.sources import Model
from tests.corpora.made import source, write_jsonl

SUMS = "min_terms=2&max_terms=2&min_digits=1&max_digits=2"


def questions(uri: str, cache: Path) -> list[str]:
    file = fetch(source(uri), cache, cache).files[0]
    return [json.loads(line)["question"] for line in file.path.read_text().splitlines()]


def test_a_glob_lists_its_files_in_order_by_stable_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).write_text("x")
    found = fetch(source("*.jsonl"), tmp_path, tmp_path)
    assert [file.name for file in found.files] == ["a.jsonl", "b.jsonl"]


def test_moving_a_file_keeps_its_digest_and_editing_it_does_not(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    for folder in ("here", "there"):
        (tmp_path / folder / "a.txt").write_text("one")
    before = observe(source("here/*.txt"), tmp_path, tmp_path)
    assert observe(source("there/*.txt"), tmp_path, tmp_path) == before
    (tmp_path / "here" / "a.txt").write_text("two")
    assert observe(source("here/*.txt"), tmp_path, tmp_path) != before


@pytest.mark.parametrize(("uri", "said"), [("no.jsonl", "no such file"), ("*.jsonl", "no file matches")])
def test_a_missing_file_is_named(tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        fetch(source(uri), tmp_path, tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_pinned_file_with_other_bytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match=f"wrong sha256: expected {'0' * 64}, found"):
        fetch(source("a.txt", sha256="0" * 64), tmp_path, tmp_path)


def test_a_model_folder_gives_weights_and_never_code(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "pytorch_model.bin", "modeling.py", ".hidden.json"):
        (tmp_path / name).write_text("{}")
    for uri in (str(tmp_path), f"hf://{tmp_path}"):
        found = fetch_model(Model(uri=uri, licence="MIT"), tmp_path, tmp_path / "cache")
        assert [file.name for file in found.files] == ["config.json", "model.safetensors"]
        assert found.digest == observe(Model(uri=uri, licence="MIT"), tmp_path, tmp_path)


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CorpusError, match=r"no \.safetensors or \.gguf weights"):
        fetch_model(Model(uri=str(tmp_path), licence="MIT"), tmp_path, tmp_path)


def test_train_and_held_out_problems_never_meet_whatever_the_seeds(tmp_path: Path) -> None:
    train = [q for seed in (1, 2, 3) for q in questions(f"gym://chain_sum?size=300&seed={seed}&{SUMS}", tmp_path)]
    held_out = [
        q
        for seed in (1, 2, 9)
        for q in questions(f"gym://chain_sum?size=60&seed={seed}&split=held_out&{SUMS}", tmp_path)
    ]
    assert not set(train) & set(held_out)
    assert all(is_held_out(q) for q in held_out)
    assert not any(is_held_out(q) for q in train)


def test_gym_problems_are_distinct_as_many_as_asked_and_the_same_each_time(tmp_path: Path) -> None:
    uri = f"gym://chain_sum?size=300&seed=5&{SUMS}"
    first, second = questions(uri, tmp_path / "a"), questions(uri, tmp_path / "b")
    assert len(first) == len(set(first)) == 300
    assert first == second


def test_the_verifier_travels_with_the_row(tmp_path: Path) -> None:
    import reasoning_gym

    file = fetch(source("gym://basic_arithmetic?size=5&seed=1&split=held_out"), tmp_path, tmp_path).files[0]
    row = json.loads(file.path.read_text().splitlines()[0])
    score = reasoning_gym.get_score_answer_fn(row["task"])
    assert score(row["answer"], entry=row["entry"]) == 1.0
    assert score("no number", entry=row["entry"]) < 1.0


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("gym://chain_sum?size=5&seed=1&terms=2", r"takes no argument \['terms'\]; it takes .*'max_terms'"),
        ("gym://chain_sum?size=5&seed=1&min_terms=3&max_terms=2", "refuses these arguments: max_terms"),
        (
            "gym://chain_sum?size=900&seed=1&min_terms=2&max_terms=2&min_digits=1&max_digits=1",
            r"too few problems: 1\d\d different ones of split 'train' .* 900 were asked for",
        ),
    ],
)
def test_a_gym_uri_that_cannot_be_met(tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        fetch(source(uri), tmp_path, tmp_path)
    assert not list(tmp_path.rglob("*.jsonl*"))


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A dataset in hub layout: two configurations by README, each with its own file."""
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: easy\n  data_files: [{split: train, path: easy.jsonl}]\n"
        "- config_name: hard\n  data_files: [{split: train, path: hard.jsonl}, {split: test, path: test.jsonl}]\n---\n"
    )
    for name in ("easy", "hard", "test"):
        write_jsonl(folder / f"{name}.jsonl", [{"text": f"{name} {i}"} for i in range(3)])
    return folder


def test_a_local_folder_in_hub_layout_is_read_by_config_and_split(tmp_path: Path, hub_folder: Path) -> None:
    file = fetch(source(f"hf://{hub_folder}?config=hard&split=test"), tmp_path, tmp_path / "cache").files[0]
    assert [json.loads(line)["text"] for line in file.path.read_text().splitlines()] == ["test 0", "test 1", "test 2"]


def test_a_streamed_dataset_gives_the_same_rows_and_keeps_none(tmp_path: Path, hub_folder: Path) -> None:
    files = {
        streaming: fetch(source(f"hf://{hub_folder}?config=hard&streaming={streaming}"), tmp_path, tmp_path / "cache")
        for streaming in ("false", "true")
    }
    assert files["true"].digest == files["false"].digest
    rows = {streaming: list(read_rows(fetched.files[0])) for streaming, fetched in files.items()}
    assert (
        [row.value for row in rows["true"]]
        == [row.value for row in rows["false"]]
        == [{"text": f"hard {i}"} for i in range(3)]
    )
    assert [(row.line, json.loads(row.raw)["text"]) for row in rows["true"]] == [(i + 1, f"hard {i}") for i in range(3)]
    assert b"hard 1" not in files["true"].files[0].path.read_bytes()


def test_a_streamed_dataset_that_is_gone_is_named(tmp_path: Path, hub_folder: Path) -> None:
    file = fetch(source(f"hf://{hub_folder}?config=easy&streaming=true"), tmp_path, tmp_path / "cache").files[0]
    (hub_folder / "easy.jsonl").unlink()
    with pytest.raises(CorpusError, match="cannot be read"):
        list(read_rows(file))


def test_edited_rows_of_a_hub_folder_are_not_served_from_a_cache(tmp_path: Path, hub_folder: Path) -> None:
    origin = source(f"hf://{hub_folder}?config=easy")
    before = fetch(origin, tmp_path, tmp_path / "cache")
    write_jsonl(hub_folder / "easy.jsonl", [{"text": "edited"}])
    after = fetch(origin, tmp_path, tmp_path / "cache")
    assert before.digest != after.digest == observe(origin, tmp_path, tmp_path)
    assert "edited" in after.files[0].path.read_text()


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("?config=none", "cannot be read: .*none"),
        ("?config=easy&split=dev", "cannot be read: .*dev"),
        ("?streaming=1", "streaming=true or false"),
    ],
)
def test_a_config_or_split_that_is_not_there(tmp_path: Path, hub_folder: Path, tail: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said):
        fetch(source(f"hf://{hub_folder}{tail}"), tmp_path, tmp_path / "cache")


def test_an_unreachable_hub_is_one_plain_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="hf://org/name@main: no network: the hub cannot be reached"):
        observe(source("hf://org/name@main"), tmp_path, tmp_path)


def test_a_commit_is_its_own_revision_and_asks_nobody(tmp_path: Path) -> None:
    one, two = (source(f"hf://org/name@{digit * 40}") for digit in "ab")
    assert observe(one, tmp_path, tmp_path) != observe(two, tmp_path, tmp_path)


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_a_dataset_of_arrow_is_read_as_its_parquet_is(tmp_path: Path, streaming: str) -> None:
    """Nulls that Arrow put into structs are none of the row's, and bytes that are text are text."""
    folder = tmp_path / "hub"
    folder.mkdir()
    calls = [{"name": "f", "arguments": {"a": "1"}}, {"name": "g", "arguments": {"b": "2"}}]
    pq.write_table(pa.table({"text": [b"caf\xc3\xa9", b"x"], "call": calls}), folder / "train.parquet")
    [file] = fetch(source(f"hf://{folder}?streaming={streaming}"), tmp_path, tmp_path / "cache").files
    found = [row.value for row in read_rows(file)]
    by_path = [row.value for row in read_rows(RawFile("train.parquet", folder / "train.parquet"))]
    assert found == by_path == [{"text": "café", "call": calls[0]}, {"text": "x", "call": calls[1]}]


@pytest.mark.parametrize("as_uri", ["{}", "hf://{}", "hf://{}?streaming=true"])
def test_a_folder_that_save_to_disk_wrote_is_read(tmp_path: Path, as_uri: str) -> None:
    import datasets

    rows = [{"text": f"row {i}"} for i in range(3)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    [file] = fetch(source(as_uri.format(tmp_path / "saved")), tmp_path, tmp_path / "cache").files
    assert [row.value for row in read_rows(file)] == rows


def test_a_saved_folder_of_splits_gives_the_one_that_is_named(tmp_path: Path) -> None:
    import datasets

    splits = {name: datasets.Dataset.from_list([{"text": name}]) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    [file] = fetch(source(f"hf://{tmp_path / 'saved'}?split=test"), tmp_path, tmp_path / "cache").files
    assert [row.value for row in read_rows(file)] == [{"text": "test"}]
    with pytest.raises(CorpusError, match=r"its splits are train, test; name one, as in \?split=train"):
        fetch(source(f"hf://{tmp_path / 'saved'}?split=dev"), tmp_path, tmp_path / "cache")
    with pytest.raises(CorpusError, match=r"several splits .* name one, as in .*/saved/train/"):
        fetch(source(str(tmp_path / "saved")), tmp_path, tmp_path / "cache")


def test_what_describes_a_folder_is_no_row_and_splits_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("# words")
    (folder / "LICENSE").write_text("words")
    (folder / "dataset_infos.json").write_text('{"default": {"splits": {}}}')
    write_jsonl(folder / "data" / "train-00000-of-00001.jsonl", [{"text": "a"}])
    assert [file.name for file in fetch(source("set"), tmp_path, tmp_path).files] == ["data/train-00000-of-00001.jsonl"]
    write_jsonl(folder / "data" / "test-00000-of-00001.jsonl", [{"text": "secret"}])
    with pytest.raises(CorpusError, match=r"several splits \(test in data/test-.*; name one, as in set/data/\*train\*"):
        fetch(source("set"), tmp_path, tmp_path)
    assert len(fetch(source("set/data/train*"), tmp_path, tmp_path).files) == 1
    [file] = fetch(source(f"hf://{folder}"), tmp_path, tmp_path / "cache").files
    assert [row.value for row in read_rows(file)] == [{"text": "a"}]


def test_splits_are_found_behind_names_too_and_a_saved_table_has_none(tmp_path: Path) -> None:
    import datasets

    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("chat_TRAIN.jsonl", "chat_dev.jsonl"):
        write_jsonl(folder / name, [{"text": "a"}])
    with pytest.raises(CorpusError, match=r"dev in chat_dev.jsonl, train in chat_TRAIN.jsonl\); name one.*\*TRAIN\*"):
        fetch(source("set"), tmp_path, tmp_path)
    assert len(fetch(source("set/*TRAIN*"), tmp_path, tmp_path).files) == 1
    (folder / "README.txt").write_text("words")
    assert len(fetch(source("set/*"), tmp_path, tmp_path).files) == 2
    assert fetch(source("set/README.txt"), tmp_path, tmp_path).files[0].name == "README.txt"
    for other in ("held_out", "testing"):
        (tmp_path / other).mkdir()
        write_jsonl(tmp_path / other / "one-eval.jsonl", [{"text": "a"}])
        write_jsonl(tmp_path / other / f"two_{other}.jsonl", [{"text": "a"}])
        with pytest.raises(CorpusError, match="several splits"):
            fetch(source(other), tmp_path, tmp_path)
    (tmp_path / "alone").mkdir()
    (tmp_path / "rows_too").mkdir()
    for name in ("notice.jsonl", "license.jsonl", "readme.json", "changelog.txt", "notice_board.csv"):
        write_jsonl(tmp_path / "rows_too" / name, [{"text": "a"}])
    assert len(fetch(source("rows_too"), tmp_path, tmp_path).files) == 4, "a changelog beside rows is none"
    (tmp_path / "notices").mkdir()
    (tmp_path / "notices" / "NOTICE.txt").write_text("Copyright 2020 The Authors.")
    assert len(fetch(source("notices"), tmp_path, tmp_path).files) == 1
    (tmp_path / "alone" / "state.json").write_text('{"text": "a"}')
    assert fetch(source("alone"), tmp_path, tmp_path).files[0].name == "state.json"
    datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "at@home")
    with pytest.raises(CorpusError, match="saved as one table without configs and splits"):
        fetch(source(f"hf://{tmp_path / 'at@home'}?split=test"), tmp_path, tmp_path / "cache")
    assert len(fetch(source(f"hf://{tmp_path / 'at@home'}"), tmp_path, tmp_path / "cache").files) == 1


def test_a_library_s_causes_are_told_in_full(tmp_path: Path, hub_folder: Path) -> None:
    with pytest.raises(CorpusError, match=r"Config name is missing.*'easy', 'hard'"):
        fetch(source(f"hf://{hub_folder}"), tmp_path, tmp_path / "cache")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    write_jsonl(mixed / "a.jsonl", [{"text": "a"}])
    write_jsonl(mixed / "b.jsonl", [{"words": 1}])
    with pytest.raises(CorpusError, match=r"DatasetGenerationError: .*; CastError: .*column names don't match"):
        fetch(source(f"hf://{mixed}"), tmp_path, tmp_path / "cache")


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """A server with TLS whose certificate this process trusts: its address, and the paths that it was asked for."""
    key, certificate, asked = tmp_path / "key.pem", tmp_path / "certificate.pem", []
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    folder = tmp_path / "served"
    folder.mkdir()

    class Serving(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/moved.jsonl":
                self.send_response(302)
                self.send_header("Location", f"http://localhost:{server.server_port}/rows.jsonl")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Serving)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield f"https://localhost:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_pinned_file_of_a_web_server_is_fetched_once(tmp_path: Path, web: tuple[str, list[str]]) -> None:
    address, asked = web
    content = write_jsonl(tmp_path / "served" / "my rows.jsonl", [{"text": "a"}]).read_bytes()
    pinned = source(f"{address}/my%20rows.jsonl", sha256=hashlib.sha256(content).hexdigest())
    for _ in range(2):
        found = fetch(pinned, tmp_path, tmp_path / "cache")
        assert [(file.name, file.path.read_bytes()) for file in found.files] == [("my rows.jsonl", content)]
        assert found.digest == observe(pinned, tmp_path, tmp_path / "cache")
    assert asked == ["/my%20rows.jsonl"]
    found.files[0].path.write_text("spoilt")
    assert fetch(pinned, tmp_path, tmp_path / "cache").files[0].path.read_bytes() == content


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("rows.jsonl", "wrong sha256: expected 000.*nothing was kept"),
        ("nowhere.jsonl", "the server answers 404"),
        ("moved.jsonl", "the download failed|not https"),
    ],
)
def test_a_web_server_that_gives_something_else_is_told(
    tmp_path: Path, web: tuple[str, list[str]], path: str, said: str
) -> None:
    write_jsonl(tmp_path / "served" / "rows.jsonl", [{"text": "a"}])
    with pytest.raises(CorpusError, match=said):
        fetch(source(f"{web[0]}/{path}", sha256="0" * 64), tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.jsonl"))


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("https://a/b.jsonl", "needs sha256"),
        ("https://u:p@a/b.jsonl", "credentials are never in a recipe"),
        ("https://a/b.jsonl?key=1", "credentials are never in a recipe"),
        ("https://a/", "path to a file"),
        ("http://a/b.jsonl", "'http://' is not known"),
    ],
)
def test_an_address_without_pin_or_with_credentials_is_refused(uri: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        source(uri)
