"""Stage canonicalise: any exporter's float graph in, the canonical graph out."""
