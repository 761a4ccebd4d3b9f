"""What rows mean: from a value in a file, of whatever format, to an item of one schema."""
