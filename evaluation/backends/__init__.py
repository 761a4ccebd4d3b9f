"""What computes answers and likelihoods: transformers in this process, or a server; and what was answered before."""
