"""What an engine of integers alone is written by: each tensor in int8 or int16 (integer_format)."""
