"""The loop that every stage shares, and what looks on."""
