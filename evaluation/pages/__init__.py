"""What people read: the page of a decision or comparison, its plots, and scores over time."""
