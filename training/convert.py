"""Any Hugging Face sequence classifier becomes a folder that the embedded engine serves.

`python convert.py FOLDER --to OUT`: exports to ONNX, quantises (see quantise.py), writes
tokenizer.json and config.json, and prints how well int8 agrees with PyTorch. What it can't convert
it refuses with one line that says why.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import export
import golden
import metrics
import posts
import scoring
from normalise import SCHEMES
from quantise import quantise

PARAMETERS_MAX = 400_000_000  # an ONNX file ends at 2 GiB of fp32
AGREEMENT_MIN = 0.90
STARS = {f"{n} star{'s' if n > 1 else ''}" for n in range(1, 6)}
NAMES = {"negative", "neutral", "positive", "neg", "neu", "pos", *STARS}
# Control flow and operators of other domains are what the embedded engine lacks in practice.
FOREIGN = {"If", "Loop", "Scan", "SequenceConstruct", "Optional"}


class Refused(Exception):
    """Why a folder can't be converted."""


class Plain(torch.nn.Module):
    """A transformers classifier with two inputs and one output."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def main() -> int:
    """Converts the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--labels", help="names in output order, when config.json has none")
    parser.add_argument(
        "--normalisation", choices=SCHEMES, help="default: what config.json says, or none"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        print(convert(options.folder, options.to, options.labels, options.normalisation))
    except Refused as reason:
        print(f"convert: {reason}", file=sys.stderr)
        return 1
    return 0


def convert(folder: Path, out: Path, names: str | None, normalisation: str | None) -> str:
    """Writes `out` and returns a line on the agreement of int8 with PyTorch.

    Raises `Refused` with the reason in words.
    """
    config, labels = check(folder, names)
    normalisation = normalisation or getattr(config, "pounce", {}).get("normalisation", "none")
    if normalisation not in SCHEMES:
        raise Refused(f"pounce.normalisation is {normalisation}; known are {', '.join(SCHEMES)}")
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    size = sum(p.numel() for p in model.parameters())
    if size > PARAMETERS_MAX:
        raise Refused(
            f"{size / 1e6:.0f}M parameters; at most {PARAMETERS_MAX // 10**6}M fit one ONNX file"
        )
    tokeniser = tokeniser_of(folder)
    prepare = SCHEMES[normalisation]
    texts = [prepare(text) for text in [*golden.ODD, *(p.text for p in posts.posts("validation"))]]
    tokens_max = tokens_max_of(config)
    tokeniser.enable_truncation(tokens_max)
    encoded = [tokeniser.encode(text).ids for text in texts if text]
    tokeniser.no_truncation()
    try:
        fp32 = export.to_onnx(Plain(model))
    except Exception as error:
        raise Refused(f"{config.model_type}: PyTorch can't export it to ONNX: {error}") from error
    check_operators(fp32)
    int8 = quantise(fp32)
    agreement, gap = compare(model, int8, encoded, config.pad_token_id or 0)
    if agreement < AGREEMENT_MIN:
        raise Refused(
            f"int8 gives PyTorch's label on only {100 * agreement:.1f} % of {len(encoded)} posts"
        )
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(int8, out / "model.onnx")
    tokeniser.save(str(out / "tokenizer.json"))
    (out / "config.json").write_text(
        json.dumps(config_json(folder, labels, normalisation, tokens_max), indent=2) + "\n"
    )
    return (
        f"{out}: int8 gives PyTorch's label on {100 * agreement:.1f} % of {len(encoded)} posts, "
        f"probabilities within {gap:.3f} on 99 %"
    )


def check(folder: Path, names: str | None):
    """The folder's config and the names of its outputs, in order."""
    if not (folder / "config.json").is_file():
        raise Refused(f"{folder} holds no config.json")
    if not any(folder.glob("model*.safetensors")):
        raise Refused(f"{folder} holds no model.safetensors")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise Refused(
            f"{folder} is {', '.join(kinds) or 'of no known kind'}, no sequence classifier"
        )
    labels = [config.id2label[i] for i in range(config.num_labels)]
    if names is not None:
        given = [name.strip() for name in names.split(",")]
        if len(given) != len(labels):
            raise Refused(
                f"--labels names {len(given)} labels, the model has {len(labels)} outputs"
            )
        labels = given
    unknown = [label for label in labels if label.strip().lower() not in NAMES]
    if unknown:
        raise Refused(
            f"the labels are {', '.join(labels)}, not negative/neutral/positive or 1 to 5 stars; "
            "name them in output order with --labels negative,neutral,positive"
        )
    return config, labels


def tokeniser_of(folder: Path):
    """The folder's fast tokeniser, without truncation and padding."""
    try:
        if (folder / "tokenizer.json").is_file():
            tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
        else:
            tokeniser = AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            ).backend_tokenizer
    except Exception as error:
        raise Refused(
            f"{folder} has no tokenizer.json, and none can be made of its files: {error}"
        ) from error
    tokeniser.no_truncation()
    tokeniser.no_padding()
    return tokeniser


def tokens_max_of(config) -> int:
    """The longest post that the position embeddings hold; RoBERTa's begin behind the padding's."""
    positions = getattr(config, "max_position_embeddings", 512)
    roberta = config.model_type in ("roberta", "xlm-roberta", "camembert")
    return min(512, positions - (config.pad_token_id + 1 if roberta else 0))


def check_operators(graph: onnx.ModelProto) -> None:
    """Refuses what the embedded engine does not run."""
    foreign = {
        n.op_type
        for n in graph.graph.node
        if n.domain not in ("", "ai.onnx") or n.op_type in FOREIGN
    }
    if foreign:
        raise Refused(
            f"its graph needs {', '.join(sorted(foreign))}, which the embedded engine does not run"
        )


def compare(
    model, int8: onnx.ModelProto, encoded: list[list[int]], pad: int
) -> tuple[float, float]:
    """The share of equal labels, and the 99th percentile of the probabilities' differences.

    Batches differ in rows and width from the one that was traced.
    """
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(int8, Path(scratch) / "model.onnx")
        session = onnxruntime.InferenceSession(
            Path(scratch) / "model.onnx", providers=["CPUExecutionProvider"]
        )
    same, gaps = [], []
    encoded = sorted(encoded, key=len)
    for start in range(0, len(encoded), 8):
        ids, mask = scoring.padded(encoded[start : start + 8], pad)
        with torch.inference_mode():
            answer = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        reference = answer.logits.numpy()
        scores = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
        same += list(reference.argmax(-1) == scores.argmax(-1))
        gaps += list(np.abs(metrics.softmax(reference) - metrics.softmax(scores)).max(-1))
    return float(np.mean(same)), float(np.percentile(gaps, 99))


def config_json(folder: Path, labels: list[str], normalisation: str, tokens_max: int) -> dict:
    """The folder's config.json with its labels and the service's section."""
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(i): label for i, label in enumerate(labels)}
    config["label2id"] = {label: i for i, label in enumerate(labels)}
    config["pounce"] = {
        "name": folder.resolve().name,
        "normalisation": normalisation,
        "tokens_max": tokens_max,
    }
    return config


if __name__ == "__main__":
    sys.exit(main())
