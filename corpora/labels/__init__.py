"""What people say of answers: the database that keeps it, and the rows that it becomes."""
