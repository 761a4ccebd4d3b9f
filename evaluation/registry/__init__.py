"""Promotion in the MLflow model registry, and the ledger of what was promoted."""
