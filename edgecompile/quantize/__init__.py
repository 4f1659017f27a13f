"""Stage quantize: canonical graph and data in, plan out."""
