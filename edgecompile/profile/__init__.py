"""Stage profile: artifact in, latency and memory out."""
