"""A recipe's tokenizer and chat template as a folder, by the cheapest way there is now, without the weights.

From the sealed `base` of the recipe's last run, if the recipe still says the same of its model; else from a local
folder, or a file that is in the cache already, converted once (a GGUF takes some ten seconds) and kept in the cache.
Nothing is downloaded for it.
"""

import tempfile
from pathlib import Path
from typing import Any

from corpora.sources import fetch_model, observe
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError
from lineage.hashing import text_digest
from lineage.store import Artifact, Store
from models import dated
from recipes.schema import Recipe, identity
from recipes.scratch import FromScratch
from recipes.sources import Model

_FILES = ("tokenizer*", "special_tokens_map.json", "chat_template*", "config.json", "vocab*", "merges.txt", "*.model")


def tokenizer_folder(recipe: Recipe, folder: Path, store: Store) -> Path | None:
    """A folder with tokenizer and template; None if only making `base` gives one. folder: the recipe's.

    Raises CorpusError if they cannot be read.
    """
    template = _template(recipe.model, folder)
    base = store.ref(recipe.name, "base")
    if base is not None and _is_of(base, recipe.model, template):
        return base.path
    cache = store.home / "cache"
    if isinstance(recipe.model, FromScratch) or not _is_here(recipe.model, cache):
        return None
    digest = observe(recipe.model, folder, cache)
    own = cache / "tokenizers" / text_digest("\n".join((digest, template or "", str(recipe.model.date))))
    if not own.is_dir():
        _convert(recipe.model, template, fetch_model(recipe.model, folder, cache).files, own)
    return own


def _is_of(base: Artifact, model: Model | FromScratch, template: str | None) -> bool:
    """Whether a sealed base is of the model that the recipe describes now, with this template of its own."""
    payload: dict[str, Any] = base.record["payload"]
    own = None if template is None else text_digest(template)
    return bool(payload.get("config") == identity(model) and payload.get("inputs", {}).get("chat_template") == own)


def _is_here(model: Model, cache: Path) -> bool:
    if model.scheme == "path" or model.uri.startswith("hf:///"):
        return True
    release = model.uri.partition("://")[2].partition("/")[0]
    return model.sha256 is not None and (cache / "releases" / model.sha256 / release).is_file()


def _template(model: Model | FromScratch, folder: Path) -> str | None:
    """The template that the recipe puts in the place of the model's own. Raises CorpusError."""
    named = model.tokenizer.chat_template if isinstance(model, FromScratch) else model.chat_template
    if named is None:
        return None
    try:
        return (folder / named).read_text(encoding="utf-8")
    except OSError as error:
        raise CorpusError(f"model.chat_template: {folder / named}: {error.strerror}") from None


def _convert(model: Model, template: str | None, files: list[RawFile], target: Path) -> None:
    """Write the folder; it is whole or not there."""
    from transformers import AutoTokenizer

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        release, made = Path(scratch) / "release", Path(scratch) / "made"
        release.mkdir()
        for file in files:
            if file.path.suffix == ".gguf" or any(file.path.match(pattern) for pattern in _FILES):
                (release / file.path.name).symlink_to(file.path.resolve())
        gguf = [path.name for path in release.glob("*.gguf")]
        named = {"gguf_file": gguf[0]} if gguf else {}
        try:
            tokenizer = AutoTokenizer.from_pretrained(release, local_files_only=True, trust_remote_code=False, **named)
        except (OSError, ValueError, KeyError) as error:
            raise CorpusError(f"{model.uri}: its tokenizer cannot be read: {str(error).splitlines()[0]}") from None
        if template is not None:
            tokenizer.chat_template = template
        if model.date is not None:
            tokenizer.init_kwargs[dated.KEY] = str(model.date)
        tokenizer.save_pretrained(made)
        if not target.is_dir():
            made.rename(target)
