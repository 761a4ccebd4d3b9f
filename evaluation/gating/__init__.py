"""From two reports to a verdict: statistics, tests, decision, and its words."""
