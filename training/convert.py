"""Any Hugging Face sequence classifier becomes a folder that the embedded engine serves.

`python convert.py FOLDER --to OUT`: exports to ONNX, quantises (see quantise.py), writes
tokenizer.json and config.json, and prints how well int8 agrees with PyTorch. What it can't convert
it refuses with one line that says why.
"""

import argparse
import json
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

import export
import golden
import posts
import scoring
from labels import Labels
from normalise import SCHEMES
from quantise import quantise

PARAMETERS_MAX = 400_000_000  # an ONNX file ends at 2 GiB of fp32
AGREEMENT_MIN = 0.90
# Control flow and operators of other domains are what the embedded engine lacks in practice.
FOREIGN = {"If", "Loop", "Scan", "SequenceConstruct", "Optional"}


class Refused(Exception):
    """Why a folder can't be converted."""


@contextmanager
def refusing(what: str):
    """Refuses, in one line, what a library can't read; some raise plain `Exception`."""
    try:
        yield
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise Refused(f"{what}: {textwrap.shorten(cause, 300, placeholder=' ...')}") from error


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
    config, source = read(folder)
    said = source.get("pounce", {})
    names, labels = labels_of(config, said, names)
    normalisation = normalisation or said.get("normalisation") or "none"
    if normalisation not in SCHEMES:
        raise Refused(f"pounce.normalisation is {normalisation}; known are {', '.join(SCHEMES)}")
    tokeniser = tokeniser_of(folder)
    tokens_max = tokens_max_of(config, said, tokeniser.num_special_tokens_to_add(False))
    model = model_of(folder)
    prepare = SCHEMES[normalisation]
    texts = [prepare(text) for text in [*golden.ODD, *(p.text for p in posts.posts("validation"))]]
    tokeniser.enable_truncation(tokens_max)
    encoded = [tokeniser.encode(text).ids for text in texts if text]
    tokeniser.no_truncation()
    with refusing(f"{config.model_type}: PyTorch can't export it to ONNX"):
        fp32 = export.to_onnx(Plain(model))
    check_operators(fp32)
    int8 = quantise(fp32)
    same, gap = compare(model, int8, encoded, config.pad_token_id or 0, labels)
    if same < AGREEMENT_MIN:
        raise Refused(
            f"int8 gives PyTorch's label on only {100 * same:.1f} % of {len(encoded)} posts"
        )
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(int8, out / "model.onnx")
    tokeniser.save(str(out / "tokenizer.json"))
    written = config_json(source, folder.resolve().name, names, normalisation, tokens_max)
    (out / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    return (
        f"{out}: int8 gives PyTorch's label on {100 * same:.1f} % of {len(encoded)} posts, "
        f"probabilities within {gap:.3f} on 99 %"
    )


def read(folder: Path):
    """The folder's config, as transformers reads it and as it is written."""
    if not (folder / "config.json").is_file():
        raise Refused(f"{folder} holds no config.json")
    if not any(folder.glob("model*.safetensors")):
        raise Refused(f"{folder} holds no model.safetensors")
    with refusing(f"{folder}/config.json"):
        source = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    kinds = config.architectures or []
    if not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise Refused(
            f"{folder} is {', '.join(kinds) or 'of no known kind'}, no sequence classifier"
        )
    problem = source.get("problem_type")
    if problem not in (None, "single_label_classification"):
        # Its outputs are no shares of one whole: a softmax would make up a score.
        raise Refused(
            f"problem_type is {problem}; classifiers of one label a text can be converted"
        )
    check_section(source.get("pounce", {}))
    return config, source


def check_section(said) -> None:
    """Refuses a `pounce` section that the service does not read."""
    if not isinstance(said, dict):
        raise Refused("pounce in config.json is no object")
    languages = said.get("languages", [])
    if not isinstance(languages, list) or not all(isinstance(tag, str) for tag in languages):
        raise Refused("pounce.languages must be a list of language tags")
    if not isinstance(said.get("normalisation"), str | None):
        raise Refused("pounce.normalisation must be a name")
    check_thresholds(said.get("thresholds", {}))
    tokens_max = said.get("tokens_max")
    if tokens_max is not None and type(tokens_max) is not int:
        raise Refused("pounce.tokens_max must be a whole number")


def check_thresholds(said) -> None:
    """Refuses thresholds that are no probabilities, and severities that do not rise."""
    levels = ("low", "medium", "high")
    refused = Refused(
        "pounce.thresholds may hold advocate and discontent (low <= medium <= high), from 0 to 1"
    )
    if not isinstance(said, dict) or set(said) - {"discontent", "advocate"}:
        raise refused
    discontent = said.get("discontent")
    if discontent is None:
        discontent = dict.fromkeys(levels, 0)
    if not isinstance(discontent, dict) or set(discontent) != set(levels):
        raise refused
    rising = [discontent[level] for level in levels]
    numbers = [*rising, said.get("advocate") or 0]
    if not all(type(number) in (int, float) and 0 <= number <= 1 for number in numbers):
        raise refused
    if rising != sorted(rising):
        raise refused


def labels_of(config, said: dict, given: str | None) -> tuple[list[str], Labels]:
    """The names of the model's outputs, in order, and what they stand for."""
    names = [config.id2label.get(i) for i in range(config.num_labels)]
    if not all(isinstance(name, str) for name in names):
        raise Refused(f"id2label in config.json must name the outputs 0 to {len(names) - 1}")
    if given is not None:
        outputs, names = len(names), [name.strip() for name in given.split(",")]
        if len(names) != outputs:
            raise Refused(f"--labels names {len(names)} labels, the model has {outputs} outputs")
    try:
        return names, Labels(names, said.get("label_weights"), said.get("answers"))
    except ValueError as error:
        raise Refused(error) from error


def model_of(folder: Path):
    """The folder's classifier in fp32."""
    with refusing(f"{folder}: the weights can't be read"):
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder,
            dtype=torch.float32,
            attn_implementation="eager",
            local_files_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    # transformers fills both with random numbers.
    lacking = {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}
    if lacking:
        raise Refused(
            f"{folder}: weights are missing or of another shape: {', '.join(sorted(lacking)[:5])}"
            + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        )
    size = sum(p.numel() for p in model.parameters())
    if size > PARAMETERS_MAX:
        raise Refused(
            f"{size / 1e6:.0f}M parameters; at most {PARAMETERS_MAX // 10**6}M fit one ONNX file"
        )
    return model.eval()


def tokeniser_of(folder: Path):
    """The folder's fast tokeniser, without truncation and padding."""
    file = folder / "tokenizer.json"
    if file.is_file():
        with refusing(str(file)):
            tokeniser = Tokenizer.from_file(str(file))
    else:
        with refusing(f"{folder} has no tokenizer.json, and none can be made of its files"):
            tokeniser = AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            ).backend_tokenizer
    tokeniser.no_truncation()
    tokeniser.no_padding()
    return tokeniser


def tokens_max_of(config, said: dict, special: int) -> int:
    """The longest post that the position embeddings hold, RoBERTa's begin behind the padding's, or
    what config.json says if that is less. Of these, `special` are the tokeniser's own."""
    positions = getattr(config, "max_position_embeddings", 512)
    roberta = config.model_type in ("roberta", "xlm-roberta", "camembert")
    padding = 1 if config.pad_token_id is None else config.pad_token_id
    readable = min(512, positions - (padding + 1 if roberta else 0))
    said_max = said.get("tokens_max")
    tokens_max = readable if said_max is None else min(readable, said_max)
    if tokens_max <= special:
        raise Refused(f"{special} special tokens leave no room within {tokens_max}")
    return tokens_max


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
    model, int8: onnx.ModelProto, encoded: list[list[int]], pad: int, labels: Labels
) -> tuple[float, float]:
    """What `agreement` says of `model` and `int8` on the `encoded` posts.

    Batches differ in rows and width from the one that was traced.
    """
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(int8, Path(scratch) / "model.onnx")
        session = onnxruntime.InferenceSession(
            Path(scratch) / "model.onnx", providers=["CPUExecutionProvider"]
        )
    reference, scores = [], []
    encoded = sorted(encoded, key=len)
    for start in range(0, len(encoded), 8):
        ids, mask = scoring.padded(encoded[start : start + 8], pad)
        with torch.inference_mode():
            answer = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        reference.append(answer.logits.numpy())
        scores.append(session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0])
    return agreement(np.concatenate(reference), np.concatenate(scores), labels)


def agreement(reference: np.ndarray, scores: np.ndarray, labels: Labels) -> tuple[float, float]:
    """The share of posts to which both `[posts, outputs]` logits give the same label, and the 99th
    percentile of the probabilities' differences."""
    if not (np.isfinite(reference).all() and np.isfinite(scores).all()):
        raise Refused("its logits are not finite: the weights are damaged")
    reference, scores = labels.probabilities(reference), labels.probabilities(scores)
    same = labels.chosen(reference) == labels.chosen(scores)
    return float(same.mean()), float(np.percentile(np.abs(reference - scores).max(-1), 99))


def config_json(
    source: dict, name: str, labels: list[str], normalisation: str, tokens_max: int
) -> dict:
    """The `source` config.json with its labels and the service's section."""
    said = source.get("pounce", {})
    keys = ("languages", "answers", "label_weights", "thresholds")
    kept = {key: said[key] for key in keys if said.get(key) is not None}
    return {
        **source,
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
        "pounce": {
            "name": name,
            "normalisation": normalisation,
            "tokens_max": tokens_max,
            **kept,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
