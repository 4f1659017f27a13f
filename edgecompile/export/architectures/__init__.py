"""One file a family that the native exporter writes, named after its model_type."""
