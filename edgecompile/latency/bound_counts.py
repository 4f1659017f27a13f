"""Cycles of an inference by its instructions' classes alone: what there is without LLVM."""

from collections.abc import Mapping

from edgecompile.latency.board import Latency

SIMD = ("dot", "mmla", "int_mac", "pairwise_add", "float_fma", "simd_other", "sve")
MEMORY = ("load_simd", "store_simd", "load", "store")


def bound_counts(counts: Mapping[str, int], latency: Latency) -> float:
    """Return the most of: all instructions, vector ones, loads and stores, each by its units."""
    return max(
        counts["instructions"] / latency.issue_width,
        sum(counts[kind] for kind in SIMD) / latency.simd_units,
        sum(counts[kind] for kind in MEMORY) / latency.memory_units,
    )
