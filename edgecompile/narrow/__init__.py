"""What joins stages to make a model narrower: prune/ with data, timing and judging; distill/."""
