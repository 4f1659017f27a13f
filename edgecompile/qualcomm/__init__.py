"""Qualcomm's HTP: its compiler and emulator, driven by files."""
