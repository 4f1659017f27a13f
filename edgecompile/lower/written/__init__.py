"""The written-out float form: every tensor that an engine rounds is there, by its name."""
