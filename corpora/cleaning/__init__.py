"""From rows to a clean corpus: what is repeated, forbidden or poor goes out, every row is accounted for."""
