"""From a PyTorch classifier to the folder that the service loads."""

import io
import json
import warnings
from pathlib import Path

import onnx
import torch
from safetensors.torch import save_file

import reshapes
from encoder import logits
from quantise import quantise


class Classifier(torch.nn.Module):
    """`model` with the inputs and the one output that the service knows."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return logits(self.model, input_ids, attention_mask)


def to_onnx(classifier: torch.nn.Module) -> onnx.ModelProto:
    """The fp32 graph: ids and mask `[batch, sequence]` in, logits `[batch, labels]` out."""
    ids = torch.tensor([[4, 5, 6], [4, 6, 5]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    buffer = io.BytesIO()
    axes = {0: "batch", 1: "sequence"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            classifier.eval(),
            (ids, mask),
            buffer,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    graph = onnx.load_from_string(buffer.getvalue())
    reshapes.make_constant(graph)
    return graph


def write(model, config: dict, folder: Path) -> None:
    """Writes model.onnx (int8), model.safetensors (fp16) and config.json; the weights are first
    rounded to fp16, so that both files hold the same model."""
    model.half().float()
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.half().contiguous()
        for name, tensor in model.state_dict().items()
        if tensor.is_floating_point()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # it is made readable to its owner alone
    onnx.save(quantise(to_onnx(Classifier(model))), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
