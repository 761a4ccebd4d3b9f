"""What people read: the page of a decision or comparison, its plots, scores over time, and the list of pages."""
