"""What the model card reports: plain functions of probabilities and labels."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of `[rows, labels]` logits."""
    exps = np.exp(logits - logits.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def macro_recall(chosen: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes present of the share of their rows that are found."""
    found = chosen == labels
    return float(np.mean([found[labels == c].mean() for c in np.unique(labels)]))


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> float:
    """The mean precision at the ranks of the relevant rows (area under precision and recall)."""
    order = np.argsort(-scores, kind="stable")
    hits = relevant[order].astype(float)
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def recall_at_precision(scores: np.ndarray, relevant: np.ndarray, precision: float) -> float:
    """The largest recall of a threshold whose precision is at least `precision`."""
    order = np.argsort(-scores, kind="stable")
    hits = relevant[order].cumsum()
    good = hits / np.arange(1, len(hits) + 1) >= precision
    return float((hits[good] / relevant.sum()).max(initial=0.0))


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the top label (Guo et al. 2017), equal-width bins."""
    confidence = probabilities.max(-1)
    correct = probabilities.argmax(-1) == labels
    return binned_error(confidence, correct, bins)


def binned_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """The mean gap of confidence and accuracy over `bins` equal-width bins, by their rows."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[index == b].mean() - correct[index == b].mean()) * (index == b).mean()
        for b in np.unique(index)
    ]
    return float(sum(gaps))


def chance_error(confidence: np.ndarray, bins: int = 15, draws: int = 200, seed: int = 1) -> float:
    """What `binned_error` shows on average where every confidence is true: the error that few rows
    alone bring."""
    rng = np.random.default_rng(seed)
    errors = [binned_error(confidence, rng.random(len(confidence)) < confidence, bins)
              for _ in range(draws)]  # fmt: skip
    return float(np.mean(errors))
