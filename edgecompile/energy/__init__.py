"""Energy and carbon of an inference: modelled from latency and watts, or measured on the board."""
