"""Canonical graphs as torch modules: to train them, and to ask them for gradients."""
