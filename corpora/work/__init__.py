"""A step as a list of tasks: what one is, who runs them, and how far they are."""
