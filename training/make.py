"""Makes `model/`: the students' parent, the students, calibration, export, golden scores.

`python make.py --data DIR --state DIR --model DIR`. Starts from the teachers' committed scores
(`teacher.py`). Every step leaves its result in the state folder and is skipped when it is there; an
interrupted run goes on.
"""

import argparse
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch.nn import functional as F

import calibrate
import data
import export
import golden
import models
import predict
import scoring
import teacher
import train
import vocabulary
from scores import Scores
from train import Plan

log = logging.getLogger("make")

SEVERITIES = {"low": 0.75, "medium": 0.88, "high": 0.95}  # the precision that each promises


@dataclass(frozen=True)
class Student:
    """A model that is shipped: which layers of its parent it is made of, and what it is called."""

    name: str
    revision: str
    layers: tuple[int, ...]
    folder: str


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, for how long."""

    parent: Plan = Plan(
        "parent-minilm", epochs=1, rate=1e-4, seed=1, distil=0.6, slips=0.1, renames=0.1
    )
    student: Plan = Plan(
        "student",
        epochs=2,
        rate=1.5e-4,
        seed=3,
        batch=64,
        dropout=0.0,
        distil=0.6,
        slips=0.1,
        renames=0.1,
    )
    # Instead of both, for a model that goes on from an earlier revision.
    further: Plan = Plan(
        "further",
        epochs=1,
        rate=8e-5,
        seed=5,
        batch=64,
        dropout=0.0,
        distil=0.6,
        slips=0.15,
        renames=0.1,
        frames=0.12,
        share=0.25,
    )
    # How far of the way from that revision to what was learnt the shipped weights lie.
    mix: float = 0.8
    students: tuple[Student, ...] = (
        Student("pounce-social-en", "5", (0, 2, 3, 5), "."),
        Student("pounce-social-en-small", "2", (0, 2, 5), "small"),
    )
    # How much a row of a source counts in the calibration; 1 where it is not named.
    calibration: dict[str, float] = field(default_factory=lambda: {"semeval_val": 2.0})


def main() -> None:
    """Runs the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--scores", type=Path, default=teacher.FILE)
    parser.add_argument("--state", type=Path, default=Path(".cache/training"))
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--golden", type=Path, default=Path("tests/data/golden_scores"))
    parser.add_argument("--base", type=Path, help="a folder of the earlier revision to go on from")
    parser.add_argument("--parent", type=Path, help="a folder for the parent too, to compare")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.state.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(options.state / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    make(
        Recipe(),
        options.data,
        options.scores,
        options.state,
        options.model,
        options.golden,
        options.parent,
        options.base,
    )


def make(
    recipe: Recipe,
    data_folder: Path,
    scores_file: Path,
    state: Path,
    out: Path,
    golden_out: Path,
    parent_out: Path | None = None,
    base: Path | None = None,
) -> None:
    """Runs every step that `state` does not hold yet and writes the students' folders and golden
    scores. With a `base`, the first student alone goes on from that revision."""
    rows, held_out = data.load(data_folder)
    wanted = lessons(rows, Scores.read(scores_file))
    rows = [row for row in rows if row.answers != data.UNLABELLED or row.text in wanted]
    log.info("%d training rows, %d with a teacher's scores, %d validation rows",
             len(rows), len(wanted), len(held_out))  # fmt: skip
    if base:
        student = recipe.students[0]
        network = models.shipped(base, recipe.further.seed)
        plan = recipe.further
        wanted = with_base(wanted, plan, rows, scoring.Scorer(base, scoring.Int8(base), batch=32))
        train.run(network.model, network.forward, network.tokenise, rows, plan, state, wanted)
        models.between(models.shipped(base, plan.seed), network, recipe.mix)
        finish(network, held_out, recipe, student, out / student.folder)
        golden.write(out / student.folder, golden_out / f"{student.name}.jsonl")
        return
    parent = models.minilm(recipe.parent.seed)
    train.run(parent.model, parent.forward, parent.tokenise, rows, recipe.parent, state, wanted)
    for student in recipe.students:
        network = models.student(parent, list(student.layers))
        plan = replace(recipe.student, name=student.name)
        train.run(network.model, network.forward, network.tokenise, rows, plan, state, wanted)
        finish(network, held_out, recipe, student, out / student.folder)
        golden.write(out / student.folder, golden_out / f"{student.name}.jsonl")
    if parent_out:
        finish(parent, held_out, recipe, Student("parent", "1", (), "."), parent_out)


def lessons(rows: list[data.Row], scores: Scores) -> dict[str, torch.Tensor]:
    """The `[outputs]` probabilities that a text is taught by: the teachers' (of a sarcastic post,
    those of what it means), and on made-up posts, where teachers fall for sarcasm, the label's."""
    wanted = {}
    for row in rows:
        if row.source == data.OWN:
            label = F.one_hot(torch.tensor(row.answers.sentiment), len(data.LABELS))
            sentiment = 0.9 * label + 0.1 / len(data.LABELS)
            discontent = torch.tensor([0.95 if row.answers.discontent else 0.05])
            wanted[row.text] = torch.cat([sentiment, discontent])
        elif (said := scores.of(row.meaning or row.text)) is not None:
            wanted[row.text] = said
    return wanted


def with_base(
    wanted: dict[str, torch.Tensor], plan: Plan, rows: list[data.Row], base: scoring.Scorer
) -> dict[str, torch.Tensor]:
    """`wanted`, and the mean of it and what the `base` says of the rows that `plan` draws: of care
    sets their discontent, of others their sentiment. That is what it was taught."""
    drawn = [row for e in range(plan.epochs) for row in train.rows_of(rows, plan, e)]
    asked = {row.text: row.source in data.CARE_SETS for row in drawn if row.source != data.OWN}
    out = dict(wanted)
    for (text, care), said in zip(asked.items(), torch.from_numpy(base(list(asked))).float()):
        heard = torch.full_like(said, torch.nan)
        part = slice(data.DISCONTENT, None) if care else slice(0, data.DISCONTENT)
        heard[part] = said[part]
        out[text] = torch.stack([heard, wanted.get(text, train.UNSCORED)]).nanmean(0)
    return out


def finish(
    network: models.Network,
    held_out: list[data.Row],
    recipe: Recipe,
    student: Student,
    out: Path,
) -> None:
    """Calibrates `network` and writes its folder, as `student`'s."""
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
    settings = config(model, student, calibration, label_weights.tolist(), severities)
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
