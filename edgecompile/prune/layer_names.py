"""What users call the parts of a model."""

from collections.abc import Sequence

from edgecompile.graph import Linear


def name_of(linear: Linear) -> str:
    """Return a Linear's name; torch's exporter hides it in the node's where there is no bias."""
    if not linear.name.startswith("onnx::"):
        return linear.name
    return str(linear.matmul.name).strip("/").removesuffix("/MatMul").replace("/", ".")


def common(names: Sequence[str]) -> str:
    """Return the dotted beginning that names share, "" for none."""
    parts = [name.split(".") for name in names]
    length = 0
    while all(len(p) > length + 1 for p in parts) and len({p[length] for p in parts}) == 1:
        length += 1
    return ".".join(parts[0][:length]) if parts else ""
