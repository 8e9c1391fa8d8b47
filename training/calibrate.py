"""Calibrated probabilities, and the weights by which a label is chosen from them.

Vector scaling (Guo et al. 2017), one temperature and a bias a class: softmax(logits / temperature +
bias) minimises the negative log-likelihood of one half of the validation rows (`data.calibrates`);
what the card says of calibration is measured on the other. A care post that is no complaint counts
as "neutral or positive". The result goes into the weights of the classifier, so that every engine
gives calibrated probabilities: of the posts with 0.7, seven of ten are right.

Whoever always takes the most probable class then finds too few posts of a rare one. `label_weights`
are what each class's probability is multiplied by before one is chosen: as if the classes were
equally frequent, which makes macro recall best.
"""

import torch
from torch.nn import functional as F

from data import NEGATIVE, NOT_NEGATIVE


def fit(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> tuple[float, torch.Tensor]:
    """Returns (temperature, `[labels]` biases of mean 0) for `[rows, labels]` logits."""
    log_scale = torch.zeros(1, requires_grad=True)
    bias = torch.zeros(logits.shape[1], requires_grad=True)
    optimiser = torch.optim.LBFGS([log_scale, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        logp = F.log_softmax(logits * log_scale.exp() + bias, -1)
        exact = -logp.gather(1, targets.clamp(max=2)[:, None])[:, 0]
        others = -torch.logsumexp(logp[:, NEGATIVE + 1 :], -1)
        value = (
            torch.where(targets == NOT_NEGATIVE, others, exact) * weights
        ).sum() / weights.sum()
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        return float((-log_scale).exp()), bias - bias.mean()


def evened(targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`weights` scaled by class to three equal shares; NOT_NEGATIVE rows count half as neutral,
    half as positive."""
    masses = torch.stack([weights[targets == c].sum() for c in range(NOT_NEGATIVE)])
    masses[1:] += weights[targets == NOT_NEGATIVE].sum() / 2
    scales = masses.sum() / (NOT_NEGATIVE * masses)
    scales = torch.cat([scales, scales[1:].mean()[None]])
    return weights * scales[targets]


def label_weights(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """`[labels]` factors of the probabilities, of product 1, for calibrated `[rows, labels]`
    logits: with them the likeliest class is the one it would be under equal shares."""
    temperature, bias = fit(logits, targets, evened(targets, weights))
    return (temperature * bias).exp()


def bake(classifier: torch.nn.Linear, temperature: float, bias: torch.Tensor) -> None:
    """Makes `classifier` give the calibrated logits."""
    with torch.no_grad():
        classifier.weight /= temperature
        classifier.bias.copy_(classifier.bias / temperature + bias)
