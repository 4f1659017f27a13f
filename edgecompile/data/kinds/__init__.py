"""The kinds of data that can be read, one a file: each holds a `Kind`, and is found by that."""
