"""Makes `model/`: two teachers, their scores, the students, calibration, export, golden scores.

`python make.py --data DIR --state DIR --model DIR`. Every step leaves its result in
the state folder and is skipped when it is there; an interrupted run goes on.
"""

import argparse
import logging
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

import calibrate
import data
import export
import golden
import models
import train
import vocabulary
from train import Plan

log = logging.getLogger("make")

TOKENS_MAX = 128


@dataclass(frozen=True)
class Student:
    """A model that is shipped: which layers of the teacher it is made of, and what it is called."""

    name: str
    revision: str
    layers: tuple[int, ...]
    folder: str


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, for how long."""

    teacher: Plan = Plan("teacher-minilm", epochs=2, rate=1e-4, seed=1, cooldown=(3050, 400))
    second: Plan = Plan("teacher-e5", epochs=1, rate=1e-4, seed=2)
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
        cooldown=(900, 2100),
    )
    students: tuple[Student, ...] = (
        Student("pounce-social-en", "4", (0, 2, 3, 5), "."),
        Student("pounce-social-en-small", "1", (0, 2, 5), "small"),
    )
    # How much a row of a source counts in the calibration; 1 where it is not named.
    calibration: dict[str, float] = field(default_factory=lambda: {"semeval_val": 2.0})


def main() -> None:
    """Runs the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--second", type=Path, default=Path("../shared/weights/e5-small-enpt"))
    parser.add_argument("--state", type=Path, default=Path(".cache/training"))
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--golden", type=Path, default=Path("tests/data/golden_scores"))
    parser.add_argument("--teacher", type=Path, help="a folder for the teacher too, to compare")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.state.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(options.state / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    make(
        Recipe(),
        options.data,
        options.second,
        options.state,
        options.model,
        options.golden,
        options.teacher,
    )


def make(
    recipe: Recipe,
    data_folder: Path,
    second: Path,
    state: Path,
    out: Path,
    golden_out: Path,
    teacher_out: Path | None = None,
) -> None:
    """Runs every step that `state` does not hold yet and writes the students' folders and golden
    scores. Without the encoder in the folder `second` there is one teacher."""
    rows, held_out = data.load(data_folder)
    log.info("%d training rows, %d validation rows", len(rows), len(held_out))
    labelled = [r for r in rows if r.target != data.UNLABELLED]
    teacher = models.minilm(recipe.teacher.seed)
    lessons = [(teacher, recipe.teacher, labelled)]
    if second.exists():
        tweets = [r for r in labelled if r.source in data.TWEETS]
        lessons.append((models.e5(second, recipe.second.seed), recipe.second, tweets))
    else:
        log.warning("%s is missing: going on with one teacher", second)
    texts = list(dict.fromkeys(row.text for row in train.drawn(rows, recipe.student)))
    said = []
    for network, plan, lesson in lessons:
        train.run(network.model, network.forward, network.tokenise, lesson, plan, state)
        said.append(_scores(network, texts, state / f"scores-{plan.name}.pt"))
    scores = {text: torch.stack([s[text] for s in said]).mean(0) for text in texts}
    for row in rows:  # teachers fall for sarcasm: on made-up posts their label has its way
        if row.kind:
            label = torch.nn.functional.one_hot(torch.tensor(row.target), len(data.LABELS))
            scores[row.text] = 0.9 * label + 0.1 / len(data.LABELS)
    for student in recipe.students:
        network = models.student(teacher, list(student.layers))
        plan = replace(recipe.student, name=student.name)
        train.run(network.model, network.forward, network.tokenise, rows, plan, state, scores)
        finish(network, held_out, recipe, student, out / student.folder)
        golden.write(out / student.folder, golden_out / f"{student.name}.jsonl")
    if teacher_out:
        finish(teacher, held_out, recipe, Student("teacher", "1", (), "."), teacher_out)


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
    scores = score(network, [row.text for row in rows])
    targets = torch.tensor([row.target for row in rows])
    weights = torch.tensor([recipe.calibration.get(row.source, 1.0) for row in rows])
    temperature, bias = calibrate.fit(scores, targets, weights)
    calibrate.bake(model.classifier, temperature, bias)
    label_weights = calibrate.label_weights(scores / temperature + bias, targets, weights)
    log.info("temperature %.3f, bias %s, label weights %s", temperature, bias, label_weights)
    calibration = {
        "method": "vector scaling, baked into the classifier's weights",
        "temperature": round(temperature, 4),
        "bias": [round(b, 4) for b in bias.tolist()],
    }
    export.write(model, config(model, student, calibration, label_weights.tolist()), out)
    vocabulary.save(network.tokeniser, out)


def score(network: models.Network, texts: list[str], batch: int = 64) -> torch.Tensor:
    """`[texts, labels]` logits in fp32."""
    encoded = network.tokenise(texts, TOKENS_MAX)
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    out = torch.zeros(len(texts), len(data.LABELS))
    network.model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            index = order[start : start + batch]
            out[index] = network.forward(*train.pad([encoded[i] for i in index])).float()
            if start // batch % 200 == 199:
                log.info("scored %d of %d", start + batch, len(texts))
    return out


def _scores(network, texts, file):
    """The teacher's probabilities by text; kept in `file`, which grows by what it lacks."""
    kept = torch.load(file, weights_only=True) if file.exists() else {"texts": [], "scores": []}
    known = dict(zip(kept["texts"], kept["scores"]))
    missing = [text for text in texts if text not in known]
    if missing:
        with torch.autocast("cpu", torch.bfloat16):
            known |= zip(missing, torch.softmax(score(network, missing), -1))
        torch.save({"texts": list(known), "scores": torch.stack(list(known.values()))}, file)
    return known


def config(model, student: Student, calibration: dict, label_weights: list[float]) -> dict:
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
        "id2label": {str(i): label for i, label in enumerate(data.LABELS)},
        "label2id": {label: i for i, label in enumerate(data.LABELS)},
        "pounce": {
            "name": student.name,
            "revision": student.revision,
            "languages": ["en"],
            "normalisation": "social-v1",
            "tokens_max": TOKENS_MAX,
            "calibration": calibration,
            "label_weights": {k: round(w, 4) for k, w in zip(data.LABELS, label_weights)},
            "thresholds": {
                "discontent": {"low": 0.60, "medium": 0.80, "high": 0.95},
                "advocate": 0.80,
            },
        },
    }


if __name__ == "__main__":
    main()
