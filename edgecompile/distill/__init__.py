"""Distillation: a narrower graph is trained to answer as the dense one does, with torch."""
