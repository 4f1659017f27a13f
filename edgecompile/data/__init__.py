"""Data -> model inputs: what calibrates and what judges.

Each kind of data is a file in `kinds/`; `dataset.py` says which samples calibrate and which judge.
"""
