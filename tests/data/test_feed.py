"""One sample: which of its tokens count."""

import numpy as np

from edgecompile.data.feed import valid_tokens


def test_valid_tokens_are_those_that_the_mask_keeps() -> None:
    """Padding is where attention_mask is 0; without a mask nothing is known of it."""
    valid = valid_tokens({"attention_mask": np.array([[1, 1, 0]])})
    assert valid is not None
    assert valid.dtype == bool
    np.testing.assert_array_equal(valid, [[True, True, False]])
    assert valid_tokens({"input_ids": np.array([[1, 1, 0]])}) is None
