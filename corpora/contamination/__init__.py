"""Evaluation items in training rows: `items` collects them, `screen` finds them, `evidence` says what was found."""
