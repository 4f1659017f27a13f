"""Importance: which of a group's units go first. A way of telling is a file with `rank`.

One that must see the whole model has `observe` too; `rank` finds what it gave in Units.observed.
"""
