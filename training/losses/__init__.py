"""Losses and the model's head, where TRL's own would need more memory or another model."""
