"""Measurements: each module prints its progress and, as its last line, one JSON object."""
