"""Importance: which of a group's units go first. A way of telling is a file with `rank`."""
