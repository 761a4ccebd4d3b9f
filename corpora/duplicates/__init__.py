"""Rows that say the same, across sources and inside them."""
