"""What a person got wrong, as each room says it. Imports nothing heavy."""

from corpora.sources import CorpusError
from evaluation.report import EvaluationError
from lineage.store import StoreError
from recipes.load import RecipeError
from training import TrainingError

USER_ERRORS = (RecipeError, StoreError, CorpusError, TrainingError, EvaluationError)
