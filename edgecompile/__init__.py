"""Compile a transformer for small machines: smaller, faster, and proven to answer the same."""

__version__ = "0.1.0"
