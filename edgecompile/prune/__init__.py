"""Passes that make a float graph narrower: coupled units are found, and taken out."""
