"""Rows as columns on disk."""
