"""What a suite can ask, a module for each kind of task and those that they share. `evaluation.task` says what all of
them are to the runner.
"""
