"""A model's outputs and its answers, as the service reads them
(crates/pounce-inference/src/labels.rs): three classes of sentiment, and
discontent.

`pounce.answers` in config.json names the outputs of each answer: a softmax over some of them is
sentiment, a sigmoid of another is discontent. Where it isn't there, all outputs are sentiment, and
discontent is P(negative).
"""

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

    def __init__(
        self,
        names: list[str],
        weights: dict[str, float] | None = None,
        answers: dict | None = None,
    ):
        """Reads the outputs' names, in output order, `pounce.label_weights` and `pounce.answers`.

        Raises `ValueError` for those that the service refuses.
        """
        of_sentiment, self.discontent = _outputs(names, answers)
        names = [names[i] for i in of_sentiment]
        classes = [CLASSES.get(name.strip().lower()) for name in names]
        said = ", ".join(names)
        if None in classes:
            raise ValueError(
                f"the labels are {said}, not negative/neutral/positive or 1 to 5 stars; "
                "name them in output order with --labels negative,neutral,positive"
            )
        if not {NEGATIVE, POSITIVE} <= set(classes):
            raise ValueError(f"the labels {said} must hold both negative and positive")
        self.sentiment = of_sentiment
        self.sums = np.eye(len(LABELS), dtype=np.float32)[classes]
        self.weights = np.ones(len(LABELS)) if weights is None else _factors(weights)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """`[texts, classes + 1]` probabilities of `[texts, outputs]` logits: those of the classes,
        and that of discontent."""
        classes = metrics.softmax(logits[:, self.sentiment]) @ self.sums
        if self.discontent is None:
            discontent = classes[:, NEGATIVE]
        else:
            discontent = 1 / (1 + np.exp(-logits[:, self.discontent]))
        return np.column_stack([classes, discontent])

    def chosen(self, probabilities: np.ndarray) -> np.ndarray:
        """The class of each of `[texts, classes + 1]` probabilities."""
        return (probabilities[:, : len(LABELS)] * self.weights).argmax(-1)


def _outputs(names, answers):
    """(places of sentiment's outputs, place of discontent's or `None`)."""
    if answers is None:
        return list(range(len(names))), None
    try:
        softmax, sigmoid = answers["sentiment"]["softmax"], answers["discontent"]["sigmoid"]
        places = [names.index(name) for name in [*softmax, sigmoid]]
    except (KeyError, TypeError, ValueError):
        places = []
    if sorted(places) != list(range(len(names))):
        raise ValueError(
            "pounce.answers must name each output of id2label once: the softmax of sentiment, the "
            "sigmoid of discontent"
        )
    return places[:-1], places[-1]


def _factors(weights):
    if not isinstance(weights, dict) or set(weights) != set(LABELS):
        raise ValueError(f"pounce.label_weights must name {', '.join(LABELS)} and nothing else")
    factors = [weights[label] for label in LABELS]
    # As narrow as the service's: what it reads as 0 or infinite is refused here too.
    narrow = [np.float32(f) if type(f) in (int, float) else math.nan for f in factors]
    if not all(0 < factor < math.inf for factor in narrow):
        raise ValueError("pounce.label_weights must be numbers above 0")
    return np.array(factors, dtype=float)
