"""The tasks of a corpus step on datatrove's executors; needs the extra `cluster`."""
