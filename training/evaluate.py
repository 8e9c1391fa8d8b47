"""The model card's figures, measured on the shipped files.

`python evaluate.py --model DIR --data DIR` prints them as Markdown (and puts them into `--card`).
int8 scores come from model.onnx in onnxruntime, fp32 ones from model.safetensors in PyTorch.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import data
import metrics
import robustness
from scoring import Fp32, Int8, Scorer

THRESHOLDS = (0.60, 0.80, 0.95)
BEGIN, END = "<!-- figures: make model-eval -->", "<!-- end of figures -->"
CARE = {source.name for source in data.SOURCES if source.labels is data.CARE}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--against", type=Path, help="a folder whose speed to measure in turns")
    parser.add_argument("--card", type=Path, help="a Markdown file whose figures to replace")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, rows = data.load(options.data)
    figures = report(rows, options.model, options.against)
    print(figures)
    if options.card:
        before, rest = options.card.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        options.card.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


def report(rows: list[data.Row], folder: Path, against: Path | None = None) -> str:
    """All tables of the card, for the validation `rows`."""
    int8, fp32 = Scorer(folder, Int8(folder)), Scorer(folder, Fp32(folder))
    texts = [row.text for row in rows]
    scores, reference = int8(texts), fp32(texts)
    tables = [
        by_source(rows, scores, reference, int8.labels),
        own_posts(rows, scores, int8.labels),
        thresholds(rows, scores),
        flips(rows, scores, int8),
        agreement(scores, reference, int8.labels),
        speed(rows, int8, against and Scorer(against, Int8(against))),
    ]
    return "\n\n".join(tables)


def by_source(rows, scores, reference, labels) -> str:
    """Macro recall of each labelled set, average precision of each care set, calibration."""
    targets = np.array([row.target for row in rows])
    sources = np.array([row.source for row in rows])
    lines = []

    def line(name, part, measure, figure):
        cells = [f"{100 * figure(s[part], targets[part]):.1f}" for s in (scores, reference)]
        lines.append([name, part.sum(), measure, *cells])

    def complaints(s, t):
        return metrics.average_precision(s[:, 0], t == data.NEGATIVE)

    def found(s, t):
        return metrics.recall_at_precision(s[:, 0], t == data.NEGATIVE, 0.8)

    def misjudged(s, t):
        return metrics.binned_error(s[:, 0], t == data.NEGATIVE)

    def recall(s, t):
        return metrics.macro_recall(labels(s), t)

    def plain_recall(s, t):
        return metrics.macro_recall(s.argmax(-1), t)

    def poles(s, t):
        return ((s[:, 0] < s[:, 2]) == (t == data.POSITIVE)).mean()

    care = np.isin(sources, list(CARE))
    for name in dict.fromkeys(sources):
        part = sources == name
        if name in CARE:
            line(name, part, "average precision of complaints", complaints)
        elif data.NEUTRAL not in targets[part]:
            line(name, part, "accuracy, two poles", poles)
        else:
            line(name, part, "macro recall", recall)
    plain = "macro recall by the most probable class, without weights"
    line("semeval_val", sources == "semeval_val", plain, plain_recall)
    line("all care sets", care, "average precision of complaints", complaints)
    line("all care sets", care, "recall of complaints at precision 0.8", found)
    other = reported(rows)
    semeval = (sources == "semeval_val") & other
    line("semeval_val, half", semeval, "ECE, top label", metrics.calibration_error)
    line("all but care sets, half", ~care & other, "ECE, top label", metrics.calibration_error)
    for name, part in {"semeval_val": semeval, "care sets": care & other, "all": other}.items():
        line(f"{name}, half", part, "ECE, P(negative)", misjudged)
    return table(["validation part", "rows", "measure", "int8", "fp32"], lines)


def reported(rows):
    """The half of the public sets' rows that calibration was not fitted on."""
    return np.array([row.source != "own" and not data.calibrates(row) for row in rows])


def own_posts(rows, scores, labels) -> str:
    """The project's own posts by kind: the right label, and the discontent flag's threshold."""
    own = [i for i, row in enumerate(rows) if row.source == "own"]
    targets, kinds = (np.array([getattr(rows[i], f) for i in own]) for f in ("target", "kind"))
    mine = scores[own]
    chosen = labels(mine)
    right = chosen == targets
    flagged = mine[:, 0] >= THRESHOLDS[0]
    lines = [
        [kind, (part := kinds == kind).sum(), percent(right[part]), percent(flagged[part])]
        for kind in dict.fromkeys(kinds)
    ]
    complaint = targets == data.NEGATIVE
    called = chosen == data.NEGATIVE
    found = metrics.recall_at_precision(mine[:, 0], complaint, 0.8)
    count = complaint.sum()
    lines += [
        ["complaints, recall", count, percent(called[complaint]), percent(flagged[complaint])],
        ["complaints, precision", "", percent(complaint[called]), percent(complaint[flagged])],
        ["complaints, recall at precision 0.8", count, percent(found), ""],
    ]
    return table(["made-up posts", "rows", "right label", "P(negative) >= 0.60"], lines)


def thresholds(rows, scores) -> str:
    """What the discontent flag's thresholds mean: precision and recall of negative posts, in the
    half of the rows that calibration was not fitted on."""
    other = reported(rows)
    negative = np.array([row.target == data.NEGATIVE for row in rows])[other]
    scores = scores[other]
    lines = []
    for threshold in THRESHOLDS:
        flagged = scores[:, 0] >= threshold
        right = percent(negative[flagged]) if flagged.any() else "-"
        lines.append([f"{threshold:.2f}", percent(flagged), right, percent(flagged[negative])])
    head = ["P(negative) at least", "posts flagged", "of them negative", "of the negative posts"]
    return table(head, lines)


def flips(rows, scores, scorer) -> str:
    """How many labels a change that means nothing changes."""
    texts = [row.text for row in rows]
    lines = []
    for name in robustness.CHANGES:
        pairs = robustness.changed(texts, name)
        if pairs:
            after = scorer.labels(scorer([text for _, text in pairs]))
            before = scorer.labels(scores[[i for i, _ in pairs]])
            lines.append([name, len(pairs), percent(after != before)])
    return table(["change", "posts changed", "labels flipped"], lines)


def agreement(scores, reference, labels) -> str:
    """int8 against fp32."""
    same = (labels(scores) == labels(reference)).mean()
    gap = np.abs(scores - reference).max(-1)
    middle, high = np.percentile(gap, [50, 99])
    lines = [
        ["same label", f"{100 * same:.2f} % of {len(scores)}"],
        ["difference of a probability, median / 99th percentile", f"{middle:.4f} / {high:.4f}"],
    ]
    return table(["int8 against fp32", ""], lines)


def speed(rows, scorer, against=None, seconds: float = 15.0) -> str:
    """Posts a second of processor time, one thread, batches of 8, tokenising included; of `against`
    in turns with it."""
    texts = [row.text for row in rows if row.source == "semeval_val"][:500]
    scorers = [scorer] if against is None else [scorer, against]
    rates = [[] for _ in scorers]
    started = time.monotonic()
    while time.monotonic() - started < seconds or len(rates[0]) < 4:
        for one, of_one in zip(scorers, rates):
            before = time.process_time()
            one(texts)
            of_one.append(len(texts) / (time.process_time() - before))
    own, *others = (np.median(of_one[1:]) for of_one in rates)  # the first warms up
    line = f"onnxruntime, int8, one thread, batches of 8: {own:.0f} posts/s of a core"
    return line + "".join(f"; the other {other:.0f}, {own / other:.2f} times" for other in others)


def table(head: list, lines: list[list]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def percent(share) -> str:
    """The mean of an array of booleans."""
    return f"{100 * np.mean(share):.1f} %"


if __name__ == "__main__":
    main()
