"""A runtime's nodes are told by the layers of the source model."""

from edgecompile.profile.source_layers import Layer, layer_of

LAYERS = {
    "enc.0.attention": Layer("enc.0.attention", "Attention"),
    "enc.0.attention.output": Layer("enc.0.attention.output", "Linear"),
    "/enc/MatMul": Layer("query", "Linear"),
}


def test_the_longest_name_wins() -> None:
    """What lowering appends to a layer's name is that layer's; other layers' names are not."""
    assert (
        layer_of("enc.0.attention.output.equalised.int8", LAYERS)
        == LAYERS["enc.0.attention.output"]
    )
    assert layer_of("enc.0.attention.int8", LAYERS) == LAYERS["enc.0.attention"]
    assert layer_of("/enc/MatMul_quant", LAYERS) == Layer("query", "Linear")


def test_what_only_begins_alike_is_no_layer() -> None:
    """`attention2` is not `attention`; a node without a name has no layer."""
    assert layer_of("enc.0.attention2", LAYERS) is None
    assert layer_of("", LAYERS) is None
