"""Finished stages of builds, kept on disk: what went in says under which name."""
