"""Sums in one order: numpy's matrix products and factorisations on one thread.

How BLAS splits a sum over threads changes its last bits, and with them which channel is cut and
which weight is rounded up: the same inputs would give other bytes on a machine with more CPUs.
onnxruntime, which does nearly all the work, has threads of its own and sums in one order anyway.
"""

import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_one_order(build: Callable[P, Iterator[T]]) -> Callable[P, Iterator[T]]:
    """Let a generator, while it runs, have BLAS on one thread."""

    @functools.wraps(build)
    def limited(*positional: P.args, **named: P.kwargs) -> Iterator[T]:
        import numpy  # noqa: F401, ICN001 - a BLAS that is not loaded cannot be told
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1, user_api="blas"):
            yield from build(*positional, **named)

    return limited
