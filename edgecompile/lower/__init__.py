"""Stage lower: canonical graph and plan in, the operators that an engine runs fast out."""
