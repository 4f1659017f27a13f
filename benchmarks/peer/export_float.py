"""Export a sentence-transformers MiniLM with torch: the float .onnx that all peers start from.

Usage: export_float.py MODEL_DIRECTORY OUTPUT.onnx
"""

import sys
import warnings
from typing import Any

import torch
import transformers

OPSET = 17


class Embedder(torch.nn.Module):
    """The encoder with its pooling: mean over valid tokens, then length 1."""

    def __init__(self, folder: str) -> None:
        """Load the checkpoint with plain attention, which onnxruntime's optimiser knows best."""
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(
            folder, attn_implementation="eager", local_files_only=True
        )

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        """Return [B, 384]."""
        found = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        valid = attention_mask.unsqueeze(-1).float()
        mean = (found[0] * valid).sum(1) / valid.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, p=2, dim=1)


def main() -> None:
    """Export with torch's tracing exporter and named, dynamic axes."""
    folder, output = sys.argv[1:]
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.arange(1000, 1016).reshape(2, 8)
    axes = {0: "batch", 1: "sequence"}
    warnings.simplefilter("ignore")
    with torch.no_grad():
        torch.onnx.export(
            Embedder(folder).eval(),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            output,
            input_names=names,
            output_names=["sentence_embedding"],
            dynamic_axes=dict.fromkeys(names, axes) | {"sentence_embedding": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


if __name__ == "__main__":
    main()
