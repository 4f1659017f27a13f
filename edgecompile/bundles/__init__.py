"""What is done with a bundle that stands: read it, check it, profile it, show it."""
