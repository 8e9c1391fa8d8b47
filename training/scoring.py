"""Texts in, probabilities out, with the files of a model's folder."""

import json
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from labels import Labels
from normalise import SCHEMES

# The service's, for models that say nothing.
SEVERITIES = {"low": 0.60, "medium": 0.80, "high": 0.95}


class Engine(Protocol):
    """Gives `[rows, labels]` logits of `[rows, width]` ids (mask 1 = token)."""

    def logits(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray: ...


class Int8:
    """model.onnx in onnxruntime, one thread."""

    def __init__(self, folder: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "model.onnx", options, ["CPUExecutionProvider"]
        )

    def logits(self, ids, mask):
        return self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


class Fp32:
    """model.safetensors in transformers."""

    def __init__(self, folder: Path):
        self.model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        self.model.eval()

    def logits(self, ids, mask):
        ids, mask = torch.tensor(ids), torch.tensor(mask)
        with torch.inference_mode():
            return self.model(input_ids=ids, attention_mask=mask).logits.numpy()


class Scorer:
    """Scores as the service does: normalised, cut, in batches of posts of like length."""

    def __init__(self, folder: Path, engine: Engine, batch: int = 8):
        config = json.loads((folder / "config.json").read_text())
        self.tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokeniser.enable_truncation(config["pounce"]["tokens_max"])
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        said = config["pounce"]
        self.outputs = Labels(names, said.get("label_weights"), said.get("answers"))
        self.normalise = SCHEMES[said.get("normalisation", "none")]
        self.severities = {**SEVERITIES, **said.get("thresholds", {}).get("discontent", {})}
        self.engine, self.batch = engine, batch

    def labels(self, probabilities: np.ndarray) -> np.ndarray:
        """The label of each of `[texts, classes + 1]` probabilities, by the model's weights."""
        return self.outputs.chosen(probabilities)

    def __call__(self, texts: list[str]) -> np.ndarray:
        """`[texts, classes + 1]` probabilities: the classes in the order of `data.LABELS`, then
        discontent."""
        normal = [self.normalise(text) for text in texts]
        encoded = [e.ids for e in self.tokeniser.encode_batch(normal)]
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        parts = []
        for start in range(0, len(order), self.batch):
            rows = [encoded[i] for i in order[start : start + self.batch]]
            parts.append(self.engine.logits(*padded(rows)))
        logits = np.concatenate(parts)
        scores = self.outputs.probabilities(logits)
        out = np.empty_like(scores)
        out[order] = scores
        return out


def padded(rows: list[list[int]], pad: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`[rows, width]` ids and mask of lists of ids."""
    width = max(map(len, rows))
    ids = np.array([row + [pad] * (width - len(row)) for row in rows])
    mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
