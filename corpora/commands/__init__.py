"""What `python -m corpora` shows on a terminal: what a file is, and what a recipe would make of its sources."""
