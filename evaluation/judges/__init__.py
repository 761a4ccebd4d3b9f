"""Tasks that a language model judges, and what is known of its biases."""
