"""Means, intervals and bounds of scores, in clusters and strata."""
