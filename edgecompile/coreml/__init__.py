"""Core ML packages: written, read back and executed by workers in coremltools' environment."""
