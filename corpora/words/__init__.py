"""What a word is, for whatever compares texts."""
