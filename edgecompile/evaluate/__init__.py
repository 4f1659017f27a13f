"""Stage evaluate: how near an artifact's answers are to the float model's."""
