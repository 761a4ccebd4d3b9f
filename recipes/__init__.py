"""What a user writes: one YAML per pipeline, and the schema that reads it.

Nothing in this package imports Dagster, torch, transformers, datasets or mlflow, so that a
recipe can be checked anywhere in milliseconds. `schema` says what a recipe may contain,
`load` turns a file into a `Recipe` or into errors that name file and field.
"""
