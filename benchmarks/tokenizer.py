"""The tokenizer that benchmarks count with: that of the demo's base model, fetched once into the cache."""

from pathlib import Path

from corpora.commands import tokenizer
from corpora.sources import fetch_model
from lineage.store import Store, home_folder
from recipes.load import SHIPPED, load_recipe
from recipes.sources import Model


def tokenizer_folder() -> Path:
    """A folder with tokenizer and chat template."""
    recipe, store = load_recipe(SHIPPED / "demo.yaml"), Store(home_folder())
    assert isinstance(recipe.model, Model), "the demo begins with a model"
    fetch_model(recipe.model, SHIPPED, store.home / "cache")
    found = tokenizer.tokenizer_folder(recipe, SHIPPED, store)
    assert found is not None, "its model was fetched just now"
    return found
