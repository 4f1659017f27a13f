"""All passes of lower/litert."""

from edgecompile.lower.litert.apply_equalisation import apply_equalisation
from edgecompile.lower.litert.convert_gelu import convert_gelu
from edgecompile.lower.litert.expand_attention import expand_attention
from edgecompile.lower.litert.expand_operators import expand_operators
from edgecompile.lower.litert.fold_factors import fold_factors
from edgecompile.lower.litert.fold_scalars import fold_scalars
from edgecompile.lower.litert.quantize_embeddings import quantize_embeddings
from edgecompile.lower.litert.quantize_linears import quantize_linears
from edgecompile.lower.litert.set_lengths import set_lengths

__all__ = [
    "apply_equalisation",
    "convert_gelu",
    "expand_attention",
    "expand_operators",
    "fold_factors",
    "fold_scalars",
    "quantize_embeddings",
    "quantize_linears",
    "set_lengths",
]
