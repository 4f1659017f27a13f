"""One sample, as a model takes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Feed = Mapping[str, np.ndarray[Any, Any]]
"""One sample: input name -> array, batch 1."""


def valid_tokens(feed: Feed) -> np.ndarray[Any, Any] | None:
    """Return which tokens are not padding, [1, S] of bool, or None if the model has no mask."""
    mask = feed.get("attention_mask")
    return None if mask is None else mask != 0
