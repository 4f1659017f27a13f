"""A model on disk -> the canonical float graph of each of its parts."""

from typing import TYPE_CHECKING

from edgecompile.errors import ChangedError, UnsupportedError
from edgecompile.stages import lower_float, run_stage
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.export.read_model import Source
    from edgecompile.graph import FloatArray
    from edgecompile.parts import Part


def export_model(source: "Source", trace: Trace) -> "list[Part]":
    """Export a model: the parts that are compiled apart, not canonical yet."""
    from edgecompile.export import read_model
    from edgecompile.parts import parts_of

    trace.say("export", f"{source.path}, {source.route} exporter")
    with trace.step("export", source.route) as done:
        graphs = read_model.export_parts(source)
        for graph in graphs.values():
            done(graph)
    return parts_of(graphs, source.config.values if source.config is not None else {})


def canonicalise(source: "Source", part: "Part", trace: Trace) -> "ir.Model":
    """Return the canonical graph of what an exporter gave; the native one's is canonical."""
    from edgecompile.export import read_model
    from edgecompile.probe import check_answers, take_probe

    if source.route == "native":
        return part.model
    trace.say("canonicalise", "recognising attention, LayerNormalization, Gelu and Linears")
    probe = take_probe(part.model)
    model = run_stage("canonicalise", part.model, {"probe": probe}, trace)
    check_answers(lower_float(model), probe)
    return model if part.name else read_model.pooled(source, model)


def pooled(source: "Source", part: "Part") -> "ir.Model":
    """Return the exported graph of a part, with the pooling that its directory asks for."""
    from edgecompile.export import read_model

    return part.model if part.name else read_model.pooled(source, part.model)


def check_same(
    reference: "ir.Model", expected: "list[list[FloatArray]]", golden: "Sequence[Feed]"
) -> None:
    """Compare our float graph with the exported one on real data, whose lengths no probe chose."""
    from edgecompile.probe import close
    from edgecompile.session import answer, session

    for answers, truths in zip(answer(session(reference), golden), expected, strict=True):
        for value, ours, truth in zip(reference.graph.outputs, answers, truths, strict=True):
            if not close(ours, truth):
                raise ChangedError(str(value.name))


def float_model(source: "Source", trace: Trace) -> "ir.Model":
    """Return the canonical float graph of a model that is one graph."""
    parts = export_model(source, trace)
    if len(parts) != 1 or parts[0].complete is not None:
        msg = f"{source.path}: a model with a cache or of several graphs cannot be distilled yet"
        raise UnsupportedError(msg)
    return canonicalise(source, parts[0], trace)
