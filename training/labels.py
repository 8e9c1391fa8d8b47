"""A model's outputs and the three classes, as the service reads them (crates/pounce-inference/src/labels.rs)."""

import math

import numpy as np

import metrics
from data import LABELS, NEGATIVE, NEUTRAL, POSITIVE

CLASSES = {
    **dict.fromkeys(("negative", "neg", "1 star", "2 stars"), NEGATIVE),
    **dict.fromkeys(("neutral", "neu", "3 stars"), NEUTRAL),
    **dict.fromkeys(("positive", "pos", "4 stars", "5 stars"), POSITIVE),
}


class Labels:
    """The class of each output, and what each class counts for when one is chosen."""

    def __init__(self, names: list[str], weights: dict[str, float] | None = None):
        """Reads the outputs' names, in output order, and `pounce.label_weights`.

        Raises `ValueError` for those that the service refuses.
        """
        classes = [CLASSES.get(name.strip().lower()) for name in names]
        said = ", ".join(names)
        if None in classes:
            raise ValueError(
                f"the labels are {said}, not negative/neutral/positive or 1 to 5 stars; "
                "name them in output order with --labels negative,neutral,positive"
            )
        if not {NEGATIVE, POSITIVE} <= set(classes):
            raise ValueError(f"the labels {said} must hold both negative and positive")
        self.sums = np.eye(len(LABELS), dtype=np.float32)[classes]
        self.weights = np.ones(len(LABELS)) if weights is None else _factors(weights)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """`[texts, classes]` probabilities of `[texts, outputs]` logits."""
        return metrics.softmax(logits) @ self.sums

    def chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of each of `[texts, classes]` probabilities."""
        return (probabilities * self.weights).argmax(-1)


def _factors(weights):
    if not isinstance(weights, dict) or set(weights) != set(LABELS):
        raise ValueError(f"pounce.label_weights must name {', '.join(LABELS)} and nothing else")
    factors = [weights[label] for label in LABELS]
    # As narrow as the service's: what it reads as 0 or infinite is refused here too.
    narrow = [np.float32(f) if type(f) in (int, float) else math.nan for f in factors]
    if not all(0 < factor < math.inf for factor in narrow):
        raise ValueError("pounce.label_weights must be numbers above 0")
    return np.array(factors, dtype=float)
