"""What a person got wrong, as each room says it. Imports nothing heavy."""

from lineage.errors import CorpusError, EvaluationError, StoreError, TrainingError
from recipes.errors import RecipeError

USER_ERRORS = (RecipeError, StoreError, CorpusError, TrainingError, EvaluationError)
