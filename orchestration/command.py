"""`temper`, the one command: every sub-command with its options, how it ends, and nothing else.

What a sub-command does is in the room it belongs to, and is imported when it is called: `temper --help` and the shell's
completion load nothing heavy. What a person can mend ends in one line on stderr here, and nowhere else.
"""

import errno
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED, TemperError

_HELP = """Post-training as a lineage graph: a recipe, one YAML file, becomes data, checkpoints, reports and a decision.

\b
Begin with files of your own:
  temper inspect tickets.jsonl      what they are
  temper new support_bot            a recipe for them
  temper check support_bot.yaml     is it valid, and can its gate open
  temper preview support_bot.yaml   what becomes of each source
  temper run support_bot.yaml       the whole graph; again: what has changed
  temper dev                        Dagster, MLflow and the pages, in the browser
"""

_EXIT_CODES = f"""\b
Exit codes:
  {DONE}   done
  {FAILED}   failed: a node, a server, a damaged file, or a comparison that its recipe's rule does not pass
  {REFUSED}   refused: a mistake in what was asked, or reports that cannot be compared; the message says the mend
  {INTERRUPTED}  interrupted; the same command goes on where it stopped

\b
State is in $TEMPER_HOME, else in ./.temper. NO_COLOR is respected.
"""

_SPREAD = ("--data", "--select", "--set")
"""Options that take one value after another."""

_ANYWHERE = ("-q", "--quiet", "-v", "--verbose")


class _OneEnd(TyperGroup):
    """Ends a command: with its status; with one line for what a person can mend or has stopped."""

    def invoke(self, ctx: Any) -> None:
        try:
            status = super().invoke(ctx)
        except TemperError as error:
            logging.getLogger("temper").info("raised here:", exc_info=True)  # with --verbose
            _complain(error)
            status = error.status
        except (KeyboardInterrupt, typer.Abort):
            print("Interrupted.", file=sys.stderr)
            status = INTERRUPTED
        except BrokenPipeError:  # whoever read has read enough: typer ends it
            raise
        except OSError as error:  # a disk that is full, a folder that nobody may write into
            logging.getLogger("temper").info("raised here:", exc_info=True)
            where = error.filename or ("output" if error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF) else None)
            _complain(f"{where}: {error.strerror}" if where else error)
            status = FAILED
        raise typer.Exit(status or DONE)


app = typer.Typer(
    cls=_OneEnd,
    help=_HELP,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(_spread(given), prog_name="temper")
    except SystemExit as ended:
        return int(ended.code or DONE)
    return DONE


def _spread(given: Sequence[str]) -> list[str]:
    """`--select a b` as `--select a --select b`; quiet and verbose, which may stand anywhere, before the command."""
    first, spread, option = [], [], ""
    for word in given:
        if word in _ANYWHERE:
            first.append(word)
        elif word.startswith("-") or option not in _SPREAD:
            spread.append(word)
        else:
            spread += [word] if spread[-1] == option else [option, word]
        option = word if word.startswith("-") else option if option in _SPREAD else ""
    return [*first, *spread]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"temper {version('temper')}")
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress: results and errors only; of check the mistakes.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="What libraries log, and where errors arise.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = quiet
    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)


def _shipped(incomplete: str) -> list[str]:
    folder = Path(__file__).parent.parent / "recipes"
    return [path.stem for path in folder.glob("*.yaml") if path.stem.startswith(incomplete)]


RecipeArgument = Annotated[
    str, typer.Argument(help="Path of a recipe file, or name of a shipped recipe.", autocompletion=_shipped)
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="What a recipe's source would say, of each file, as columns.messages=dialog; may be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout, for programs.")]


def _complain(what: Any) -> None:
    """One line for a person, on stderr."""
    from recipes.terminal import harmless

    print(harmless(what), file=sys.stderr)


def _print_json(value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    print(re.sub("[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text))


@app.command()
def run(
    context: typer.Context,
    recipe: RecipeArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Make everything selected again; what is registered stays.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NODE…", help="Only these nodes; 'dpo+': and all downstream; '+dpo': and all that it is made from."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE…", help="Launch overrides of stages.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Materialize a recipe's graph, reusing what has not changed.

    \b
    Examples:
      temper run demo
      temper run support_bot.yaml --select sft dpo+
      temper run support_bot.yaml --select +mixture/chat
      temper run support_bot.yaml --set dpo.beta=0.2 dpo.seed=3
      temper run support_bot.yaml --force --select decision
    """
    return _run(recipe, context.obj, as_json, force=force, select=select or [], overrides=_overrides(set_ or []))


@app.command()
def evaluate(
    context: typer.Context,
    recipe: RecipeArgument,
    checkpoints: Annotated[
        list[str] | None, typer.Argument(help="base, or stages; by default all that evaluation.reports names.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Score again what is scored.")] = False,
    as_json: AsJson = False,
) -> int:
    """Score checkpoints by the recipe's suite.

    They must be there, as `temper run` makes them. What is scored already is only shown.

    \b
    Examples:
      temper evaluate demo base
      temper evaluate support_bot.yaml sft dpo --json
    """
    from recipes.load import find_recipe, load_recipe

    named = checkpoints or load_recipe(find_recipe(recipe)).evaluation.reports
    select = [f"report/{name}" for name in named]
    return _run(recipe, context.obj, as_json, True, force=force, select=select, overrides={})


def _run(recipe: str, quiet: bool, as_json: bool, say_where: bool = False, **how: Any) -> int:
    """Run, and show what came of it. say_where: with the folders of the reports, which `compare` takes."""
    import uuid

    from orchestration.forking import start_fork_server
    from orchestration.home import log_of, prepare_home, work_for
    from recipes.load import find_recipe, load_recipe
    from recipes.power import refusals

    path = find_recipe(recipe)
    for problem in refusals(load_recipe(path)):
        _complain(f"{path}: {problem}")
    home, run_id = prepare_home(), str(uuid.uuid4())
    work_for(run_id)
    start_fork_server(path, log_of(home, run_id))

    from lineage.store import Store
    from orchestration.liveness import open_instance
    from orchestration.run import run
    from orchestration.summary import Summary

    finished = run(path, run_id, quiet=quiet or as_json, **how)
    if finished.interrupted:
        print("Interrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
    for node, message in finished.failures.items():
        _complain(f"{node}: {message}")
    if not finished.success:
        print(f"What the processes wrote: {finished.log}", file=sys.stderr)
    with open_instance(home) as instance:
        summary = Summary(instance, Store(home), finished.pipeline, finished.run_id)
        if as_json:
            _print_json({"success": finished.success, "failures": finished.failures, **summary.facts()})
        elif finished.success:
            summary.show(say_where)
    return DONE if finished.success else FAILED


def _overrides(settings: list[str]) -> dict[str, dict[str, Any]]:
    """`dpo.beta=0.2` as {"dpo": {"beta": 0.2}}; values are read as YAML. Raises TemperError."""
    import yaml

    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        stage, *fields = name.split(".")
        if not equals or not fields:
            raise TemperError(f"--set {setting}: expected STAGE.FIELD=VALUE, as in dpo.beta=0.2")
        section = found.setdefault(stage, {})
        for field in fields[:-1]:
            section = section.setdefault(field, {})
        section[fields[-1]] = yaml.safe_load(value)
    return found


@app.command()
def check(
    context: typer.Context,
    recipes: Annotated[
        list[str] | None,
        typer.Argument(help="Recipe files, or names; all shipped ones by default.", autocompletion=_shipped),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Is a recipe valid, are its files there, and can its gate ever pass?

    \b
    Examples:
      temper check
      temper check support_bot.yaml
      temper check *.yaml --json
    """
    from corpora.sources.local import missing
    from recipes.load import SHIPPED, find_recipe, load_recipe
    from recipes.power import power_of, refusals, sentence

    found: list[dict[str, Any]] = []
    for name in recipes or sorted(map(str, SHIPPED.glob("*.yaml"))):
        try:
            recipe = load_recipe(path := find_recipe(name))
        except TemperError as error:
            found.append({"recipe": name, "ok": False, "problems": str(error).splitlines()})
            continue
        refused = [f"{path}: {problem}" for problem in (*refusals(recipe), *missing(recipe, path.resolve().parent))]
        suite = recipe.evaluation.suite
        found.append(
            {
                **{"recipe": str(path), "ok": not refused, "problems": refused, "sources": list(recipe.sources)},
                **{"stages": list(recipe.stages), "suite": suite and suite.model_dump()},
                "guards": [sentence(power, recipe.promotion) for power in power_of(recipe)],
            }
        )
    if as_json:
        _print_json(found)
    else:
        for one in found:
            _show_checked(one, context.obj)
    return DONE if all(one["ok"] for one in found) else REFUSED


def _show_checked(one: dict[str, Any], quiet: bool) -> None:
    for problem in one["problems"]:
        _complain(problem)
    if quiet or "sources" not in one:
        return
    suite = f", suite {one['suite']['name']} version {one['suite']['version']}" if one["suite"] else ""
    sources = f"{len(one['sources'])} source{'s' if len(one['sources']) > 1 else ''}"
    declared = f"{sources}, stages {', '.join(one['stages'])}{suite}"
    print(f"{one['recipe']}: {'ok' if one['ok'] else 'refused'}: {declared}")
    for guard in one["guards"]:
        print(f"  guard {guard}")


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Of the recipe; NAME.yaml is written, beside it what is held out.")],
    data: Annotated[
        list[str] | None, typer.Option(metavar="FILE…", help="Files, folders or URIs of rows; asked for if not given.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder of the base model, hf://ORG/NAME, or 'smollm2'; asked for if not given.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or gpu: sizes, precision; asked for if not given.", metavar="cpu|gpu")
    ] = None,
    licence: Annotated[str, typer.Option(help="Of the data, for its report.")] = "not stated",
    settings: Settings = None,
) -> int:
    """Write a recipe for files of your own.

    It is valid, has comments and is yours to change. It looks at the rows: conversations are learnt by SFT,
    preference pairs by DPO, documents by pretraining. Some rows are held out for the evaluation.

    \b
    Examples:
      temper new support_bot
      temper new support_bot --data tickets.jsonl pairs.jsonl --model smollm2 --device cpu
      temper new bots/clinic --data s3://bucket/notes/ --model hf://Qwen/Qwen2.5-0.5B --device gpu --licence internal
      temper new support_bot --data calls.json --set rows=data --set turns.roles.agent=assistant
    """
    import shlex

    from corpora.commands.new import device_problem, files_problem, model_problem, recipe_file, write_recipe

    path = recipe_file(name)
    files = data or shlex.split(_asked("data", "Files of rows, with blanks between", None, files_problem))
    base = model or _asked("model", "Base model: a folder, hf://ORG/NAME, or smollm2", "smollm2", model_problem)
    where = device or _asked("device", "Device: cpu or gpu", "cpu", device_problem)
    with _progress(context.obj):
        written = write_recipe(path, files, base, where, licence, settings or [])
    for line in written:
        print(line)
    return DONE


def _asked(option: str, question: str, default: str | None, problem: Callable[[str], str | None]) -> str:
    """The answer of a person, who is asked again while it has a problem. Raises TemperError where nobody can be."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise TemperError(f"--{option} is not given, and there is no terminal to ask")
    while True:
        answer: str = typer.prompt(question, default=default)
        if (found := problem(answer)) is None:
            return answer
        print(found, file=sys.stderr)


def _progress(quiet: bool) -> Any:
    """Progress bars and lines while the block lasts, or none."""
    from contextlib import nullcontext

    from corpora.work.progress import told_to

    return told_to(lambda _: None) if quiet else nullcontext()


@app.command()
def inspect(
    context: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            metavar="FILE_OR_URI",
            help="As in a recipe: a path, hf://, https://, pypi://, gym://, s3://, gs://, labels://",
        ),
    ],
    sha256: Annotated[str | None, typer.Option(help="Of the file, for pypi:// and https://")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="When the rows do not tell.")] = None,
    rows_in: Annotated[str | None, typer.Option("--rows-in", help="The list of rows, in a file of one object.")] = None,
    settings: Settings = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Look at the first N rows only.")] = None,
    hide_text: Annotated[bool, typer.Option("--hide-text", help="Show no row.")] = False,
    as_json: AsJson = False,
) -> int:
    """What a file, folder or URI is.

    Its format with the evidence, good and bad rows, lengths, languages, repeats, its first rows.

    \b
    Examples:
      temper inspect tickets.jsonl
      temper inspect 'data/*.parquet' --rows 1000 --hide-text
      temper inspect calls.json --set rows=data --set columns.messages=dialog --set turns.roles.agent=assistant
      temper inspect hf://openai/gsm8k?config=main --json
    """
    from corpora.commands.inspection import inspect, inspected_source, settings_of
    from corpora.commands.show_inspection import facts, show_inspection
    from corpora.commands.showing import console
    from lineage.store import home_folder

    with _progress(context.obj or as_json):
        given = {"sha256": sha256, "format": format_, "rows": rows_in}
        section = settings_of(settings or [])
        for name, value in given.items():
            if value is not None and section.setdefault(name, value) != value:
                raise TemperError(f"{name} is given twice: {value} and, by --set, {section[name]}")
        found = inspect(inspected_source(place, section), home_folder() / "cache", rows)
    if as_json:
        _print_json(facts(found, hide_text))
    else:
        show_inspection(found, hide_text, console())
    return DONE if found.kind else FAILED


@app.command()
def preview(
    context: typer.Context,
    recipe: RecipeArgument,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="One source only.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Of each source.")] = 5000,
    all_: Annotated[bool, typer.Option("--all", help="All rows of each source.")] = False,
    show: Annotated[int, typer.Option(min=0, metavar="N", help="Rows of each source to show.")] = 2,
    as_json: AsJson = False,
) -> int:
    """What a recipe would make of its sources.

    Counts of what is kept and left out, and the first rows as the model will read them, with what it learns marked.

    \b
    Examples:
      temper preview support_bot.yaml
      temper preview demo --source sums --show 5
      temper preview support_bot.yaml --all --json
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from corpora.commands.preview import preview_recipe
    from corpora.commands.show_preview import show_preview
    from recipes.load import find_recipe

    with _progress(context.obj or as_json):
        found = preview_recipe(find_recipe(recipe), source, None if all_ else rows, show)
    if as_json:
        _print_json({name: one.facts for name, one in found.sources.items()})
    else:
        show_preview(found)
    return FAILED if found.has_problems else DONE


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="REPORT_A", help="Report folder of the newer checkpoint.")],
    b: Annotated[Path, typer.Argument(metavar="REPORT_B", help="Report folder to compare it with.")],
    recipe: Annotated[Path | None, typer.Option(help="Recipe whose promotion rule decides.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the HTML page there.")] = None,
    as_json: AsJson = False,
) -> int:
    """Compare two reports, item by item.

    With a recipe its promotion rule gives a verdict; 1 is the exit code of one that does not pass.

    \b
    Examples:
      temper compare .temper/objects/demo/report/A .temper/objects/demo/report/B
      temper compare A B --recipe support_bot.yaml --out page.html
    """
    import shlex

    from evaluation.compare import compare

    options = [word for name, value in (("--recipe", recipe), ("--out", out)) if value for word in (name, str(value))]
    found = compare(a, b, recipe, out, f"temper compare {shlex.join([str(a), str(b), *options])}")
    if as_json:
        _print_json(found.facts)
    else:
        print("\n".join(found.lines))
    return found.status


@app.command()
def dev(
    dagster_port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    mlflow_port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> int:
    """Dagster UI with pages, and MLflow UI, on loopback, until Ctrl-C.

    \b
    Examples:
      temper dev
      TEMPER_RECIPES=my_recipes temper dev --dagster-port 3001 --mlflow-port 5001
    """
    if dagster_port == mlflow_port:
        raise TemperError(f"--dagster-port and --mlflow-port are both {mlflow_port}: each needs one of its own")
    from orchestration.dev import dev

    return dev(dagster_port, mlflow_port)


@app.command()
def label(
    name: Annotated[str, typer.Argument(help="Of the labels; a recipe reads them by labels://NAME.")],
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows of `prompt` and `answers`, two or more; perhaps `tools`.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="Whose candidates are asked.", autocompletion=_shipped)] = None,
    candidates: Annotated[str | None, typer.Option(metavar="NAME", help="Of that recipe, made already.")] = None,
    ask: Annotated[
        Literal["choice", "stars", "rank"], typer.Option(help="Which of two is better; 1 to 5 stars; an order.")
    ] = "choice",
    instructions: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Shown above every question.")] = None,
    at_random: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share asked at random; the others are asked where a label tells most."),
    ] = 0.3,
    judges: Annotated[int, typer.Option(min=1, help="Annotators that judge each question.")] = 1,
    host: Annotated[str, typer.Option(help="Address or name to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: that of the last time, else a free one.")] = 0,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where people open the page, if a proxy stands before it.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="TEMPER_LABELS_TOKEN", help="Of your own; else one is drawn and kept.")
    ] = None,
    sensitive: Annotated[bool, typer.Option("--sensitive", help="Also show and export what is sensitive.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show who has judged how much, and serve nothing.")] = False,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows there, and serve nothing.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Of the judgements to export, if there are several.")] = None,
) -> int:
    """Ask people which answers are better, on a page, until Ctrl-C.

    Keys: 1, 2, = and 0 to choose, digits for stars and places, s skip, u undo, c comment. What is said is on disk
    before the page goes on. Without --answers or --candidates it asks what it asked before. A chat product sends
    thumbs and edits to POST /feedback.

    \b
    Examples:
      temper label tone --answers answers.jsonl --instructions tone.md
      temper label sums --recipe arithmetic-dpo --candidates tries --ask rank --judges 2
      temper label tone --list
      temper label tone --export tone.jsonl
    """
    from recipes.section import is_name

    if not is_name(name):
        raise TemperError(f"{name}: the name of labels has up to 63 small letters, digits and _, a letter first")
    if (recipe is None) != (candidates is None) or (answers is not None and recipe is not None):
        raise TemperError("expected either --answers, or --recipe and --candidates together")
    from lineage.store import Store, home_folder

    home = home_folder()
    if list_ or export is not None:
        return _show_labels(home, name, list_, export, kind, sensitive)
    from corpora.feedback.asking import questions_in, questions_of_candidates
    from orchestration.labelling.serving import serve
    from recipes.load import find_recipe

    asked = questions_in(answers, ask) if answers else None
    if recipe is not None and candidates is not None:
        asked = questions_of_candidates(Store(home), find_recipe(recipe), candidates, ask)
    how: dict[str, Any] = {"ask": ask, "instructions": instructions, "at_random": at_random, "judges": judges}
    serve(home, name, asked, **how, host=host, port=port, public_url=public_url, token=token, sensitive=sensitive)
    return DONE


def _show_labels(home: Path, name: str, listed: bool, export: Path | None, kind: str | None, sensitive: bool) -> int:
    from collections import Counter

    from corpora.commands.showing import console, table
    from corpora.labels.events import standing
    from corpora.labels.store import Labels
    from corpora.sources.labels import exported, write_rows

    labels = Labels(home, name)
    if listed:
        counted = Counter((event.annotator, event.kind) for event in standing(labels.events()))
        console().print(
            table(("annotator", "kind", "standing"), [(*key, count) for key, count in sorted(counted.items())])
        )
    if export is not None:
        found, rows = exported(labels, kind, f"labels://{name}", sensitive)
        try:
            write_rows(export, rows)
        except OSError as error:
            raise TemperError(f"--export {export}: {error.strerror}") from None
        print(f"{export}: {len(rows)} rows of {found}")
    return DONE


@app.command()
def job(file: Annotated[Path, typer.Argument(help="A job file, as the graph writes it or written by hand.")]) -> int:
    """Do one training or evaluation job.

    No Dagster is needed; this process becomes the job's.

    \b
    Example:
      temper job .temper/objects/demo/sft/<fingerprint>.job.json
    """
    try:
        kind = json.loads(file.read_bytes())["kind"]
    except OSError as error:
        raise TemperError(f"{file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise TemperError(f"{file}: not a job: expected a JSON object with 'kind'") from None
    room = "evaluation" if kind == "evaluate" else "training"
    os.execv(sys.executable, [sys.executable, "-m", room, str(file)])  # noqa: S606 - no shell is meant


@app.command()
def schema(
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")] = None,
) -> int:
    """The JSON schema of recipes, for editors.

    \b
    Examples:
      temper schema -o recipe.schema.json
      # then, as the first line of a recipe beside it:
      # yaml-language-server: $schema=recipe.schema.json
    """
    from recipes.load import recipe_schema

    text = json.dumps(recipe_schema(), indent=1, ensure_ascii=False)
    if output is None:
        print(text)
        return DONE
    try:
        output.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise TemperError(f"{output}: {error.strerror}") from None
    return DONE
