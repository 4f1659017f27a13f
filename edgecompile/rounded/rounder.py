"""A graph whose nodes are given integers one after the other: what is in which format already."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT, Array, add_initializer
from edgecompile.integer_format import (
    INT8,
    INT16,
    IntegerFormat,
    format_for,
    format_of,
    set_format,
)
from edgecompile.placement import EMBED, ENCODER, place
from edgecompile.plan import Plan

ACCURATE, PLAIN = "accurate", "plain"
"""Profiles; the plain one is int8 everywhere, as other tools write it: for comparison alone."""
CONVOLUTION = "convolution"


@dataclass(slots=True)
class Rounder:
    """Rewrites the encoder's nodes in order; `rounded` are values in a second format."""

    graph: ir.Graph
    plan: Plan
    profile: str
    channels: str
    rounded: dict[tuple[ir.Value, str], ir.Value] = field(default_factory=dict)
    source: dict[ir.Value, ir.Value] = field(default_factory=dict)

    @property
    def residual(self) -> str:
        """Return what the residual stream and LayerNormalization are in."""
        return INT8 if self.profile == PLAIN else INT16

    @property
    def convolves(self) -> bool:
        """Say whether factors a channel are a convolution's."""
        return self.channels == CONVOLUTION and self.residual == INT16

    def enter(
        self, value: ir.Value, before: ir.Node, form: IntegerFormat | None = None
    ) -> ir.Value:
        """Return a value in integers: what the host gives is rounded there."""
        if format_of(value) is not None:
            return value
        form = form or self.format(value, self.residual)
        if (value, form.dtype) not in self.rounded:
            self.rounded[value, form.dtype] = self.round(value, form, before, EMBED)
        return self.rounded[value, form.dtype]

    def as_type(self, value: ir.Value, dtype: str, before: ir.Node) -> ir.Value:
        """Return a value in int8 or int16; a Round makes it where it is in the other."""
        form = format_of(value)
        if form is not None and form.dtype == dtype:
            return value
        key = (value, dtype)
        if key not in self.rounded:
            wanted = self.format(value, dtype)
            if form is not None and form.dtype == INT8:  # each of the 256 steps stays what it is
                wanted = IntegerFormat(INT16, form.scale / 64)
            self.rounded[key] = self.round(value, wanted, before, ENCODER)
        return self.rounded[key]

    def round(self, value: ir.Value, form: IntegerFormat, before: ir.Node, part: str) -> ir.Value:
        """Insert a Round."""
        node = ir.node("Round", [value], domain=LITERT, name=f"{value.name}.{form.dtype}")
        self.graph.insert_before(before, place(node, part))
        y = node.outputs[0]
        y.name, y.shape, y.type = node.name, value.shape, value.type
        self.source[y] = self.source.get(value, value)
        return set_format(y, form)

    def constant(self, name: str, array: Array, dtype: str = INT16) -> ir.Value:
        """Return a constant in integers, [1, 1, C] where it is a vector."""
        form = format_for(float(array.min()), float(array.max()), dtype)
        q = (np.rint(array.astype(np.float64) / form.scale) + form.zero).astype(dtype)
        q = q.reshape(1, 1, -1) if q.ndim == 1 else q
        return set_format(add_initializer(self.graph, f"{name}.{dtype}", q), form)

    def format(self, value: ir.Value, dtype: str) -> IntegerFormat:
        """Return the format of a value by what calibration saw of it."""
        return format_for(*self.range(value), dtype)

    def range(self, value: ir.Value) -> tuple[float, float]:
        """Return what calibration saw of a value."""
        found = self.plan.tensors.get(str(self.source.get(value, value).name))
        if found is None:
            msg = f"the plan has no range of '{value.name}'"
            raise ValueError(msg)
        return found
