"""From clean corpora to one training set: exact shares in a stated unit, in training order."""
