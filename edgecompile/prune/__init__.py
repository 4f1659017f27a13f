"""Make a float graph narrower: units, layers and tokens that it can do without are taken out."""
