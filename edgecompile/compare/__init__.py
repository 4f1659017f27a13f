"""What changed from one bundle to another, and whether for the worse."""
