"""The model card's figures, measured on the shipped files.

`python evaluate.py --model DIR --data DIR` prints them as Markdown (and puts them into `--card`).
int8 scores come from model.onnx in onnxruntime, fp32 ones from model.safetensors in PyTorch.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

import data
import metrics
import robustness
from normalise import normalise

THRESHOLDS = (0.60, 0.80, 0.95)
BEGIN, END = "<!-- figures: make model-eval -->", "<!-- end of figures -->"


class Int8:
    """model.onnx in onnxruntime, one thread."""

    def __init__(self, folder: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])

    def logits(self, ids, mask):
        """`[rows, labels]` logits of `[rows, width]` ids."""
        return self.session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


class Fp32:
    """model.safetensors in transformers."""

    def __init__(self, folder: Path):
        self.model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(self, ids, mask):
        """`[rows, labels]` logits of `[rows, width]` ids."""
        with torch.inference_mode():
            return self.model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask)).logits.numpy()


class Scorer:
    """Texts in, probabilities out, as the service does it: batches of 8 sorted by length."""

    def __init__(self, folder: Path, engine, tokens_max: int = 128, batch: int = 8):
        self.tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokeniser.enable_truncation(tokens_max)
        self.engine, self.batch = engine, batch

    def __call__(self, texts: list[str]) -> np.ndarray:
        encoded = [e.ids for e in self.tokeniser.encode_batch([normalise(t) for t in texts])]
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        out = np.zeros((len(texts), len(data.LABELS)), np.float32)
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            width = max(len(encoded[i]) for i in rows)
            ids = np.array([encoded[i] + [0] * (width - len(encoded[i])) for i in rows])
            mask = np.array([[1] * len(encoded[i]) + [0] * (width - len(encoded[i])) for i in rows])
            out[rows] = self.engine.logits(ids, mask)
        return metrics.softmax(out)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--card", type=Path, help="a Markdown file whose figures to replace")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, rows = data.load(options.data)
    figures = report(rows, options.model)
    print(figures)
    if options.card:
        before, rest = options.card.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        options.card.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


def report(rows: list[data.Row], folder: Path) -> str:
    """All tables of the card, for the validation `rows`."""
    int8, fp32 = Scorer(folder, Int8(folder)), Scorer(folder, Fp32(folder))
    texts = [row.text for row in rows]
    scores, reference = int8(texts), fp32(texts)
    return "\n\n".join(
        [
            by_source(rows, scores, reference),
            own_posts(rows, scores),
            thresholds(rows, scores),
            flips(rows, scores, int8),
            precision(rows, scores, reference),
            speed(rows, int8),
        ]
    )


def three_class(rows):
    """Indices of the rows that have one of the three labels."""
    return np.array([i for i, row in enumerate(rows) if row.target < data.NOT_NEGATIVE and row.source not in CARE_SOURCES])


CARE_SOURCES = {source.name for source in data.SOURCES if source.labels is data.CARE}


def by_source(rows, scores, reference) -> str:
    """Macro recall and calibration of each labelled set; average precision of each care set."""
    out = ["| validation part | rows | measure | int8 | fp32 |", "| --- | --- | --- | --- | --- |"]
    targets = np.array([row.target for row in rows])
    for name in dict.fromkeys(row.source for row in rows):
        part = np.array([row.source == name for row in rows])
        if name in CARE_SOURCES:
            measure, f = "AP of complaints", lambda s: metrics.average_precision(s[part, 0], targets[part] == 0)
        elif len(set(targets[part])) == 2:  # no neutral rows: the stronger pole counts
            measure, f = "accuracy, two classes", lambda s: float(((s[part, 0] < s[part, 2]) == (targets[part] == 2)).mean())
        else:
            measure, f = "macro recall", lambda s: metrics.macro_recall(s[part], targets[part])
        out.append(f"| {name} | {part.sum()} | {measure} | {100 * f(scores):.1f} | {100 * f(reference):.1f} |")
    care = np.array([row.source in CARE_SOURCES for row in rows])
    if care.any():
        f = lambda s: metrics.average_precision(s[care, 0], targets[care] == 0)
        out.append(f"| all care sets | {care.sum()} | AP of complaints | {100 * f(scores):.1f} | {100 * f(reference):.1f} |")
        f = lambda s: metrics.recall_at_precision(s[care, 0], targets[care] == 0, 0.8)
        out.append(f"| all care sets | {care.sum()} | recall at precision 0.8 | {100 * f(scores):.1f} | {100 * f(reference):.1f} |")
    index = three_class(rows)
    f = lambda s: metrics.calibration_error(s[index], targets[index])
    out.append(f"| all three-class sets | {len(index)} | ECE, top label | {100 * f(scores):.1f} | {100 * f(reference):.1f} |")
    f = lambda s: metrics.binned_error(s[:, 0], targets == 0)
    out.append(f"| all | {len(rows)} | ECE, P(negative) | {100 * f(scores):.1f} | {100 * f(reference):.1f} |")
    return "\n".join(out)


def own_posts(rows, scores) -> str:
    """Recall of each kind of the project's own posts, at the discontent flag's threshold too."""
    own = [i for i, row in enumerate(rows) if row.source == "own"]
    targets = np.array([rows[i].target for i in own])
    mine = scores[own]
    called = mine.argmax(-1) == data.NEGATIVE
    out = ["| made-up posts | rows | label right | P(negative) >= 0.60 |", "| --- | --- | --- | --- |"]
    for kind in dict.fromkeys(rows[i].kind for i in own):
        part = np.array([rows[i].kind == kind for i in own])
        right = (mine[part].argmax(-1) == targets[part]).mean()
        flagged = (mine[part, 0] >= THRESHOLDS[0]).mean()
        out.append(f"| {kind} | {part.sum()} | {100 * right:.0f} | {100 * flagged:.0f} |")
    complaint = targets == data.NEGATIVE
    recall, right = called[complaint].mean(), complaint[called].mean()
    out.append(f"| complaints: label negative | {complaint.sum()} | recall {100 * recall:.0f} | precision {100 * right:.0f} |")
    flagged = mine[:, 0] >= THRESHOLDS[0]
    recall, right = flagged[complaint].mean(), complaint[flagged].mean()
    out.append(f"| complaints: flagged | {complaint.sum()} | recall {100 * recall:.0f} | precision {100 * right:.0f} |")
    return "\n".join(out)


def thresholds(rows, scores) -> str:
    """What the thresholds of the discontent flag mean: precision and recall of negative posts."""
    targets = np.array([row.target for row in rows])
    out = ["| P(negative) at least | posts flagged | of them negative | of the negative posts |", "| --- | --- | --- | --- |"]
    for threshold in THRESHOLDS:
        flagged = scores[:, 0] >= threshold
        if not flagged.any():
            continue
        right, found = (targets[flagged] == 0).mean(), flagged[targets == 0].mean()
        out.append(f"| {threshold:.2f} | {100 * flagged.mean():.1f} % | {100 * right:.1f} % | {100 * found:.1f} % |")
    return "\n".join(out)


def flips(rows, scores, scorer) -> str:
    """How many labels a change that means nothing changes."""
    texts = [row.text for row in rows]
    out = ["| change | posts changed | labels flipped |", "| --- | --- | --- |"]
    for name in robustness.CHANGES:
        pairs = robustness.changed(texts, name)
        if pairs:
            after = scorer([text for _, text in pairs]).argmax(-1)
            rate = (after != scores[[i for i, _ in pairs]].argmax(-1)).mean()
            out.append(f"| {name} | {len(pairs)} | {100 * rate:.1f} % |")
    return "\n".join(out)


def precision(rows, scores, reference) -> str:
    """int8 against fp32."""
    same = (scores.argmax(-1) == reference.argmax(-1)).mean()
    gap = np.abs(scores - reference).max(-1)
    return (
        "| int8 against fp32 | |\n| --- | --- |\n"
        f"| same label | {100 * same:.2f} % of {len(rows)} |\n"
        f"| largest difference of a probability, median / 99th percentile | {np.median(gap):.4f} / {np.percentile(gap, 99):.4f} |"
    )


def speed(rows, scorer, seconds: float = 4.0) -> str:
    """Posts a second on one thread, batches of 8 sorted by length, tokenising included."""
    texts = [row.text for row in rows if row.source != "own"][:2000]
    scorer(texts[:64])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        scorer(texts)
        done += len(texts)
    return f"onnxruntime, int8, one thread, batches of 8: {done / (time.perf_counter() - started):.0f} posts/s"


if __name__ == "__main__":
    main()
