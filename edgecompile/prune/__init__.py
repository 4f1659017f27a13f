"""Float graph -> narrower float graph."""
