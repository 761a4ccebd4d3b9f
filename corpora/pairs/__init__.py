"""From clean corpora to preference pairs."""
