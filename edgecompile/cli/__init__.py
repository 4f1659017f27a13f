"""Commands, without logic."""
