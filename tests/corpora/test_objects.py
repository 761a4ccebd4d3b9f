"""Objects of a store, on a local S3 server and a stand-in for Google's: versions, downloads, and plain errors."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest
from moto.server import ThreadedMotoServer

from corpora.cleaning.clean import clean
from corpora.sources import fetch, observe
from lineage.errors import CorpusError
from tests.corpora.made import source, talk, write_jsonl

SECRET = "a-secret-that-nobody-sees"


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket on a server of this process; its address and keys are in the environment, and nowhere else."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET}
    kept = {name: os.environ.get(name) for name in names}
    os.environ |= {**names, "AWS_DEFAULT_REGION": "us-east-1"}
    client = boto3.client("s3")
    client.create_bucket(Bucket="texts")
    yield client
    server.stop()
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def put(bucket: Any, key: str, text: str) -> None:
    bucket.put_object(Bucket="texts", Key=key, Body=text.encode())


def test_an_object_a_glob_and_a_prefix(bucket: Any, tmp_path: Path) -> None:
    for key in ("all/a.jsonl", "all/deep/b.jsonl", "all/c.txt"):
        put(bucket, key, key)
    found = {
        uri: {file.name: file.path.read_text() for file in fetch(source(f"s3://texts/{uri}"), tmp_path, tmp_path).files}
        for uri in ("all/a.jsonl", "all/*.jsonl", "all/**/*.jsonl", "all")
    }
    assert found["all/a.jsonl"] == found["all/*.jsonl"] == {"a.jsonl": "all/a.jsonl"}
    assert list(found["all/**/*.jsonl"]) == ["a.jsonl", "deep/b.jsonl"]
    assert list(found["all"]) == ["a.jsonl", "c.txt", "deep/b.jsonl"]


def test_the_version_is_known_without_a_download_and_a_changed_object_is_read_anew(bucket: Any, tmp_path: Path) -> None:
    origin = source("s3://texts/changing/*.txt")
    put(bucket, "changing/a.txt", "one")
    before = observe(origin, tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())
    assert fetch(origin, tmp_path, tmp_path).digest == before
    put(bucket, "changing/a.txt", "two")
    after = fetch(origin, tmp_path, tmp_path)
    assert before != after.digest == observe(origin, tmp_path, tmp_path)
    assert after.files[0].path.read_text() == "two"
    put(bucket, "changing/a.txt", "one")
    assert observe(origin, tmp_path, tmp_path) == before


def test_a_version_that_is_in_the_cache_is_not_downloaded_again(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "kept/a.txt", "one")
    first = fetch(source("s3://texts/kept/a.txt"), tmp_path, tmp_path).files[0].path
    written = first.stat().st_mtime_ns
    assert fetch(source("s3://texts/kept/a.txt"), tmp_path, tmp_path).files[0].path.stat().st_mtime_ns == written


def test_rows_of_an_object_become_a_clean_corpus(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "rows/a.jsonl", write_jsonl(tmp_path / "a.jsonl", [talk("q", "a"), talk("p", "b")]).read_text())
    work = tmp_path / "work"
    work.mkdir()
    metrics = clean("far", source("s3://texts/rows/a.jsonl"), tmp_path, tmp_path / "cache", work)
    assert (metrics["read"], metrics["kept"]) == (2, 2)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://texts/none.jsonl", "no such object"),
        ("s3://none/a.jsonl", "no such (bucket or )?object"),
        ("s3://texts/none/*.jsonl", "no such object"),
    ],
)
def test_what_is_not_there_is_named_and_no_secret_told(bucket: Any, tmp_path: Path, uri: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        fetch(source(uri), tmp_path, tmp_path)
    assert uri in str(caught.value) and SECRET not in str(caught.value)


def test_a_pinned_object_with_other_bytes_is_refused(bucket: Any, tmp_path: Path) -> None:
    put(bucket, "pinned.txt", "one")
    with pytest.raises(CorpusError, match=f"wrong sha256: expected {'0' * 64}"):
        fetch(source("s3://texts/pinned.txt", sha256="0" * 64), tmp_path, tmp_path)


def test_an_unreachable_store_is_one_plain_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CorpusError, match="the object store cannot be read") as caught:
        observe(source("s3://texts/a.txt"), tmp_path, tmp_path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://key:secret@texts/a.txt", "gs://texts/a.txt?token=x"])
def test_credentials_in_a_recipe_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="credentials are never in a recipe"):
        source(uri)


class _Google(BaseHTTPRequestHandler):
    """As much of Google's JSON interface as reading needs: list, look up and download the objects of one bucket."""

    objects: dict[str, tuple[bytes, int]]
    downloads: list[str]

    def do_GET(self) -> None:
        place, asked = urlsplit(self.path), parse_qs(urlsplit(self.path).query)
        name = unquote(place.path.partition("/o")[2].removeprefix("/"))
        if not name:
            prefix = asked.get("prefix", [""])[0]
            body = json.dumps({"items": [self._about(found) for found in self.objects if found.startswith(prefix)]})
            self._answer(200, body.encode())
        elif name not in self.objects:
            self._answer(404, b"{}")
        elif asked.get("alt") == ["media"]:
            self.downloads.append(name)
            self._answer(200, self.objects[name][0])
        else:
            self._answer(200, json.dumps(self._about(name)).encode())

    def _about(self, name: str) -> dict[str, str]:
        content, generation = self.objects[name]
        return {"name": name, "bucket": "texts", "size": str(len(content)), "generation": str(generation)}

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_objects_of_google_have_their_generation_as_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _Google.objects, _Google.downloads = {"all/a.txt": (b"one", 1), "all/deep/b.txt": (b"two", 1)}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Google)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    try:
        before = observe(source("gs://texts/all"), tmp_path, tmp_path)
        assert not _Google.downloads
        found = fetch(source("gs://texts/all"), tmp_path, tmp_path)
        assert found.digest == before
        assert {file.name: file.path.read_bytes() for file in found.files} == {"a.txt": b"one", "deep/b.txt": b"two"}
        _Google.objects["all/a.txt"] = (b"one", 2)
        assert observe(source("gs://texts/all"), tmp_path, tmp_path) != before
        fetch(source("gs://texts/all"), tmp_path, tmp_path)
        assert sorted(_Google.downloads) == ["all/a.txt", "all/a.txt", "all/deep/b.txt"]
    finally:
        server.shutdown()
        server.server_close()
