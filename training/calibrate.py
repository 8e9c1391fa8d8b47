"""Calibrated probabilities of both answers, the weights by which a label is chosen, thresholds.

Sentiment: vector scaling (Guo et al. 2017), one temperature and a bias a class, softmax(logits /
temperature + bias). Discontent: Platt scaling, sigmoid(logit / temperature + bias). Both minimise
the negative log-likelihood of one half of the validation rows (`data.calibrates`); what the card
says of calibration is measured on the other. The result goes into the weights of the classifier, so
that every engine gives calibrated probabilities: of the posts with 0.7, seven of ten are right.

Whoever always takes the most probable class then finds too few posts of a rare one. `label_weights`
are what each class's probability is multiplied by before one is chosen: as if the classes were
equally frequent, which makes macro recall best.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from data import DISCONTENT, LABELS


def fit(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """Returns (temperature, `[classes]` biases of mean 0) for `[rows, classes]` logits."""

    def loss(scale, bias):
        logp = F.log_softmax(logits * scale + bias, -1)
        exact = -logp.gather(1, targets[:, None])[:, 0]
        return (exact * weights).sum() / weights.sum()

    temperature, bias = _minimum(loss, logits.shape[1])
    return temperature, bias - bias.mean()


def fit_binary(logits: torch.Tensor, targets: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Returns (temperature, bias) for `[rows]` logits of an answer that is yes (1) or no (0)."""

    def loss(scale, bias):
        return F.binary_cross_entropy_with_logits(logits * scale + bias, targets.float())

    return _minimum(loss, 1)


def evened(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`weights` scaled by class to three equal shares."""
    masses = torch.stack([weights[targets == c].sum() for c in range(len(LABELS))])
    scales = masses.sum() / (len(LABELS) * masses)
    return weights * scales[targets]


def label_weights(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """`[classes]` factors of the probabilities, of product 1, for calibrated `[rows, classes]`
    logits: with them the likeliest class is the one it would be under equal shares."""
    temperature, bias = fit(logits, targets, evened(targets, weights))
    return (temperature * bias).exp()


def thresholds(
    probabilities: torch.Tensor, targets: torch.Tensor, precisions: Sequence[float]
) -> list[float]:
    """The lowest probability from which on at least such a share of the posts is discontent, for
    each of `precisions`; in hundredths, increasing, and not below a half: many care posts are
    complaints, other streams hold fewer. Where none reaches it, that of the surest tenth of a per
    cent."""
    surest, order = probabilities.sort(descending=True)
    share = targets[order].double().cumsum(0) / torch.arange(1, len(order) + 1)
    out = []
    for precision in precisions:
        enough = (share >= precision).nonzero()
        at = int(enough.max()) if len(enough) else len(order) // 1000
        found = (int(surest[at] * 100) + 1) / 100
        out.append(min(max([0.5, found, *(t + 0.01 for t in out[-1:])]), 0.99))
    return [round(t, 2) for t in out]


def bake(
    classifier: torch.nn.Linear,
    sentiment: tuple[float, torch.Tensor],
    discontent: tuple[float, torch.Tensor],
) -> None:
    """Makes `classifier` give the logits calibrated by both (temperature, bias)."""
    for rows, (temperature, bias) in (
        (slice(0, DISCONTENT), sentiment),
        (slice(DISCONTENT, None), discontent),
    ):
        with torch.no_grad():
            classifier.weight[rows] /= temperature
            classifier.bias[rows] = classifier.bias[rows] / temperature + bias


def _minimum(loss, biases):
    log_scale = torch.zeros(1, requires_grad=True)
    bias = torch.zeros(biases, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale, bias], max_iter=200, line_search_fn="strong_wolfe")

    def step():
        optimiser.zero_grad()
        value = loss(log_scale.exp(), bias)
        value.backward()
        return value

    optimiser.step(step)
    return float((-log_scale).exp().detach()), bias.detach()
