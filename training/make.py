"""Makes `model/`: the student, taught by the teacher's scores; calibration, export, golden scores.

`python make.py --data DIR --base DIR --state DIR --model DIR`. Starts from the teacher's committed
scores (`teacher.py`), from the published all-MiniLM-L6-v2 and from an earlier revision in `base`:
the weights are the mean of both runs' ends, which then goes through the steps of `STEPS`. Every run
leaves its result in the state folder and is skipped when it is there; an interrupted one goes on.

`--step NAME --from DIR` begins with a later step, from the model of that folder. `--words DIR`
trains nothing: the model of that folder gets the words of `own/*.txt` that share a vector.
"""

import argparse
import hashlib
import json
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

import calibrate
import counterfactuals
import data
import export
import golden
import models
import predict
import teacher
import train
import vocabulary
from heads import ANSWERS
from scores import Scores
from train import Plan

log = logging.getLogger("make")

SEVERITIES = {"low": 0.75, "medium": 0.92, "high": 0.96}  # the precision that each aims at


COUNTERFACTUAL = "counterfactual"  # the source of posts that are one

# How often an epoch draws a row of each source.
DRAWS = {
    "semeval_train": 1.0,
    "tweets_2009": 1.0,
    "brands_sxsw": 1.0,
    "apple": 2.0,
    "selfdriving": 1.0,
    "complaints": 4.0,
    "care_airlines_set1": 4.0,
    "care_telecom_set1": 4.0,
    "complaints_financial": 3.0,
    "complaints_reviews": 2.0,
    "goemotions_train": 1.0,
    "sst2_train": 1.0,
    "tweet_emotion": 1.0,
    "sarcasm": 2.0,
    "tweet_irony": 1.0,
    "tweet_offensive": 1.0,
    "tweets_unlabelled": 1.0,
    "stream_spotify": 1.0,
    data.OWN: 3.0,
}


@dataclass(frozen=True)
class Student:
    """What the shipped model is called, and of which of all-MiniLM-L6-v2's layers it is made."""

    name: str
    revision: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, for how long."""

    plan: Plan = Plan(
        "student",
        epochs=5,
        rate=5e-4,
        seed=3,
        batch=512,
        dropout=0.0,
        slips=0.15,
        renames=0.1,
        frames=0.12,
        draws=DRAWS,
    )
    # The run starts again from its end, with another warm-up: epochs and rate.
    again: tuple[int, float] = (8, 4e-4)
    # What the ends of the runs count for in the mean, by where they started.
    shares: dict[str, float] = field(default_factory=lambda: {"minilm": 1.0, "base": 2.0})
    # What the mean learns then: mostly made-up posts, and of the others enough to forget nothing,
    # which for what customers write to companies is more.
    last: Plan = replace(
        plan,
        name="last",
        epochs=4,
        rate=2e-4,
        seed=11,
        batch=128,
        dropout=0.1,
        draws={source: 0.1 * often for source, often in DRAWS.items()}
        | {"complaints": 1.0, "care_airlines_set1": 2.0, "care_telecom_set1": 2.0, data.OWN: 1.2},
    )
    # How far the weights are on the way from the mean to that run's end.
    way: float = 0.35
    # Then everything together: half of what the teacher scored, the care sets as often as a run has
    # them, the project's own posts and the counterfactuals.
    joint: Plan = replace(
        last,
        name="joint",
        epochs=1,
        seed=13,
        draws={source: 0.5 * often for source, often in DRAWS.items()}
        | {"complaints": 4.0, "care_airlines_set1": 4.0, "care_telecom_set1": 4.0, data.OWN: 1.0}
        | {COUNTERFACTUAL: 1.0},
    )
    joint_sizes: counterfactuals.Sizes = counterfactuals.Sizes()
    # How far the weights are on the way to that run's end.
    joint_way: float = 0.35
    # What they learn at last, gently: the same answer whoever it is about, and nothing else.
    fair: Plan = replace(
        last,
        name="counterfactuals",
        epochs=1,
        rate=6e-5,
        seed=7,
        dropout=0.0,
        slips=0.0,
        renames=0.0,
        frames=0.0,
    )
    fair_sizes: counterfactuals.Sizes = counterfactuals.Sizes(
        templates=14,
        others={0: 2_200, 1: 500, 2: 700, 3: 2_000, 4: 2_000},
        own={3: 1_000, 4: 1_000},
        swaps=1,
        kept=26_000,
    )
    student: Student = Student("pounce-social-en", "10", (0, 2, 3, 5))
    # How far the wanted answer of a labelled post goes from the teacher's score to the label.
    labels: float = 0.2
    # How much a row of a source counts in the calibration; 1 where it is not named.
    calibration: dict[str, float] = field(default_factory=lambda: {"semeval_val": 2.0})


@dataclass(frozen=True)
class Start:
    """A step to begin with, and the folder whose model begins there."""

    step: str
    folder: Path

    def key(self) -> str:
        """A folder's name for the results of what begins so, and of nothing else."""
        weights = hashlib.blake2b((self.folder / "model.safetensors").read_bytes(), digest_size=4)
        return f"{self.step}-{weights.hexdigest()}"


def main() -> None:
    """Runs the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--scores", type=Path, default=teacher.FILE)
    parser.add_argument("--state", type=Path, default=Path(".cache/training"))
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--golden", type=Path, default=Path("tests/data/golden_scores"))
    parser.add_argument("--base", type=Path, help="a folder of the earlier revision to start from")
    parser.add_argument("--step", choices=STEPS, help="the step to begin with")
    parser.add_argument(
        "--from", dest="folder", type=Path, default=Path("model"), help="whose model begins there"
    )
    parser.add_argument("--words", type=Path, help="a folder whose model only gets the words")
    parser.add_argument("--device", default="cpu", help="cpu (hours), cuda (minutes)")
    parser.add_argument("--fp32", action="store_true", help="without bf16: faster on some CPUs")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train.MIXED = not options.fp32
    options.state.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(options.state / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    recipe, out = Recipe(), (options.model, options.golden)
    if options.words:
        give_words(options.words, recipe.student, *out)
        return
    make(
        recipe,
        options.data,
        options.scores,
        options.state,
        *out,
        options.base,
        Start(options.step, options.folder) if options.step else None,
        options.device,
    )


def make(
    recipe: Recipe,
    data_folder: Path,
    scores_file: Path,
    state: Path,
    out: Path,
    golden_out: Path,
    base: Path | None = None,
    start: Start | None = None,
    device: str = "cpu",
) -> None:
    """Runs every step that `state` does not hold yet, from `start` on, and writes the model's
    folder and golden scores."""
    rows, held_out = data.load(data_folder)
    scores = Scores.read(scores_file)
    rows = [row for row in rows if row.source == data.OWN or scores.of(asked(row)) is not None]
    log.info("%d training rows, %d validation rows", len(rows), len(held_out))
    wanted = lessons(rows, scores, recipe.labels)
    if start:
        network = models.shipped(start.folder, recipe.plan.seed)
        state = state / start.key()
    else:
        network = averaged(rows, wanted, recipe, state, base, device)
    names = list(STEPS)
    for name in names[names.index(start.step) if start else 0 :]:
        STEPS[name](network, rows, wanted, recipe, state, device)
    finish(network, held_out, recipe, out)
    golden.write(out, golden_out / f"{recipe.student.name}.jsonl")


def give_words(folder: Path, student: Student, out: Path, golden_out: Path) -> None:
    """Writes the model of `folder` with all words of `names.ALIKE` in its vocabulary, each with the
    vector of its group; calibration and thresholds stay."""
    network = models.shipped(folder, seed=0)
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings["pounce"]["revision"] = student.revision
    export.write(network.model.eval(), settings, out)
    vocabulary.save(network.tokeniser, out)
    golden.write(out, golden_out / f"{student.name}.jsonl")


def averaged(
    rows: list[data.Row],
    wanted: torch.Tensor,
    recipe: Recipe,
    state: Path,
    base: Path | None,
    device: str,
) -> models.Network:
    """The mean of the runs from the published encoder and from an earlier revision."""
    starts = {"minilm": models.student(models.minilm(recipe.plan.seed), recipe.student.layers)}
    if base:
        starts["base"] = models.shipped(base, recipe.plan.seed)
    ends, weights = [], []
    for name, network in starts.items():
        of_run = teach(network, rows, wanted, recipe, name, state, device)
        ends += of_run
        weights += [recipe.shares[name]] * len(of_run)
    models.mean(network, ends, weights)
    return network


def learn_more(
    network: models.Network,
    rows: list[data.Row],
    wanted: torch.Tensor,
    recipe: Recipe,
    state: Path,
    device: str,
) -> None:
    """Gives `network` the last lessons."""
    go_towards(network, rows, wanted, recipe.last, recipe.way, state, device)


def learn_counterfactuals(
    network: models.Network,
    rows: list[data.Row],
    _: torch.Tensor,
    recipe: Recipe,
    state: Path,
    device: str,
) -> None:
    """Teaches `network` to answer posts about somebody unheard of as it answers those about
    somebody known, and all else as it does. Words keep their vectors."""
    plan = replace(recipe.fair, draws={COUNTERFACTUAL: 1.0})
    kept = np.random.default_rng(plan.seed).permutation(recipe.fair.drawn(rows, 0))
    network.model.to(device)
    posts, wanted = counterfactual(network, rows, kept, recipe.fair_sizes, plan.seed)
    with models.fixed_words(network):
        train.run(network, ANSWERS, posts, wanted, plan, state)
    network.model.to("cpu")


def learn_jointly(
    network: models.Network,
    rows: list[data.Row],
    wanted: torch.Tensor,
    recipe: Recipe,
    state: Path,
    device: str,
) -> None:
    """Gives `network` all lessons together, the counterfactuals among them."""
    plan, none = recipe.joint, np.array([], int)
    network.model.to(device)
    posts, answers = counterfactual(network, rows, none, recipe.joint_sizes, plan.seed)
    network.model.to("cpu")
    wanted = torch.cat([wanted, answers])
    go_towards(network, rows + posts, wanted, plan, recipe.joint_way, state, device)


def go_towards(
    network: models.Network,
    rows: list[data.Row],
    wanted: torch.Tensor,
    plan: Plan,
    way: float,
    state: Path,
    device: str,
) -> None:
    """Takes `network` `way`, from 0 to 1, towards where `plan` ends (interpolated weights:
    Wortsman et al., CVPR 2022). Words keep their vectors."""
    before = _weights(network)
    network.model.to(device)
    with models.fixed_words(network):
        train.run(network, ANSWERS, rows, wanted, plan, state)
    network.model.to("cpu")
    models.mean(network, [before, _weights(network)], [1 - way, way])


def counterfactual(
    network: models.Network,
    rows: list[data.Row],
    kept: np.ndarray,
    sizes: counterfactuals.Sizes,
    seed: int,
) -> tuple[list[data.Row], torch.Tensor]:
    """Posts about somebody else, and `[posts, answers]` of `network` to the posts that they were:
    what is wanted for them. Those of `rows` with the indices `kept` are among them as they are."""
    answered, asked = zip(*counterfactuals.lessons(rows, kept, sizes, seed))
    log.info("counterfactuals: %d posts", len(asked))
    once = {text: at for at, text in enumerate(dict.fromkeys(answered))}
    answers = ANSWERS.probabilities(predict.logits(network, list(once)))
    wanted = answers[[once[text] for text in answered]]
    return [data.Row(text, data.UNLABELLED, COUNTERFACTUAL) for text in asked], wanted


# The steps after the mean, in their order.
STEPS = {"last": learn_more, "joint": learn_jointly, "counterfactuals": learn_counterfactuals}


def teach(
    network: models.Network,
    rows: list[data.Row],
    wanted: torch.Tensor,
    recipe: Recipe,
    name: str,
    state: Path,
    device: str,
) -> list[dict[str, torch.Tensor]]:
    """Trains `network` twice, the second time from where the first ended; returns both ends."""

    def encoded(number: int) -> train.Encoded:
        file = state / f"posts-{number}.npz"  # the same in all runs
        if not file.exists():
            train.encode(rows, recipe.plan, number, network.tokenise).save(file)
        return train.Encoded.load(file)

    epochs, rate = recipe.again
    ends = []
    for plan in (
        replace(recipe.plan, name=name),
        replace(recipe.plan, name=f"{name}-again", epochs=epochs, rate=rate),
    ):
        network.model.to(device)
        train.run(network, ANSWERS, rows, wanted, plan, state, encoded)
        network.model.to("cpu")
        ends.append(_weights(network))
    return ends


def _weights(network: models.Network) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.model.state_dict().items()}


def asked(row: data.Row) -> str:
    """The text whose score is taken for the row: of a sarcastic post, what it means."""
    return row.meaning or row.text


def lessons(rows: list[data.Row], scores: Scores, labels: float) -> torch.Tensor:
    """`[rows, answers]` probabilities that the posts are taught by: the teacher's, moved by
    `labels` towards the label where the set's annotators were asked that question, and on made-up
    posts the label's."""
    unscored = torch.full((ANSWERS.outputs,), torch.nan)
    said = torch.stack(
        [unscored if (found := scores.of(asked(row))) is None else found for row in rows]
    )
    labelled = torch.from_numpy(np.stack([teacher.targets(row)[: ANSWERS.outputs] for row in rows]))
    own = torch.tensor([row.source == data.OWN for row in rows])[:, None]
    moved = torch.where(labelled.isnan() | own, said, said.lerp(labelled, labels))
    return torch.where(own, labelled, moved)


def finish(
    network: models.Network,
    held_out: list[data.Row],
    recipe: Recipe,
    out: Path,
) -> None:
    """Calibrates `network` and writes its folder."""
    model = network.model.eval()
    network.unite()
    rows = [row for row in held_out if data.calibrates(row)]
    scores = predict.logits(network, [row.text for row in rows])
    sentiment, discontent = torch.tensor([row.answers for row in rows]).unbind(-1)
    weights = torch.tensor([recipe.calibration.get(row.source, 1.0) for row in rows])

    asked = sentiment != data.UNKNOWN
    classes = (scores[asked, : data.DISCONTENT], sentiment[asked], weights[asked])
    temperature, bias = calibrate.fit(*classes)
    scaled = classes[0] / temperature + bias
    label_weights = calibrate.label_weights(scaled, *classes[1:])

    # Both answers of posts to somebody who delivers: that is where flags are asked for.
    care = torch.tensor([row.source in data.CARE_SETS for row in rows])
    logits, unhappy = scores[care, data.DISCONTENT], discontent[care]
    platt = calibrate.fit_binary(logits, unhappy)
    sure = torch.sigmoid(logits / platt[0] + platt[1])
    severities = dict(zip(SEVERITIES, calibrate.thresholds(sure, unhappy, SEVERITIES.values())))

    calibrate.bake(model.classifier, (temperature, bias), platt)
    calibration = {
        "method": "vector scaling of sentiment, Platt scaling of discontent, baked into the "
        "classifier's weights",
        "temperature": round(temperature, 4),
        "bias": [round(b, 4) for b in bias.tolist()],
        "discontent": {"temperature": round(platt[0], 4), "bias": round(platt[1].item(), 4)},
    }
    log.info("calibration %s, label weights %s, severities %s",
             calibration, label_weights, severities)  # fmt: skip
    settings = config(model, recipe.student, calibration, label_weights.tolist(), severities)
    export.write(model, settings, out)
    vocabulary.save(network.tokeniser, out)


def config(
    model,
    student: Student,
    calibration: dict,
    label_weights: list[float],
    severities: dict[str, float],
) -> dict:
    """config.json: what transformers and rust-bert read, and the service's own section."""
    kept = (
        "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act "
        "hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size "
        "initializer_range layer_norm_eps pad_token_id"
    ).split()
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        **{key: getattr(model.config, key) for key in kept},
        "id2label": {str(i): label for i, label in enumerate(data.OUTPUTS)},
        "label2id": {label: i for i, label in enumerate(data.OUTPUTS)},
        "pounce": {
            "name": student.name,
            "revision": student.revision,
            "languages": ["en"],
            "normalisation": models.NORMALISATION,
            "tokens_max": predict.TOKENS_MAX,
            "answers": {
                "sentiment": {"softmax": data.LABELS},
                "discontent": {"sigmoid": data.OUTPUTS[data.DISCONTENT]},
            },
            "calibration": calibration,
            "label_weights": {k: round(w, 4) for k, w in zip(data.LABELS, label_weights)},
            "thresholds": {
                "discontent": severities,
                "advocate": 0.80,
            },
        },
    }


if __name__ == "__main__":
    main()
