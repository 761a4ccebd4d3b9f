"""What says how good an answer is: preferences, votes, rankings, and prompts with verifiers of their answers."""
