"""The teacher of base size: trained on all labels, then asked about all texts.

One encoder with a head for each set whose annotators were asked something else: what "negative"
means of a brand, of a phrase in a film review and of a day in 2009 is not the same, and a head of
its own keeps a set from bending the answers that the service gives. Those are the first two heads:
sentiment as SemEval's annotators give it, discontent as in tweets to customer care, and the
project's own posts for both.

`python teacher.py --data DIR --encoder DIR --state DIR --device cuda` trains one of each seed and
writes the mean of their scores to `training/teacher_scores.bin` (scores.py), from which `make
model` starts: the hours are spent once. Every step leaves its result in the state folder, and an
interrupted run goes on.
"""

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import data
import metrics
import mpnet
import predict
import train
from data import DISCONTENT, LABELS, OWN, UNKNOWN, Row
from heads import ANSWERS, Head, Heads
from scores import Scores
from train import Plan

log = logging.getLogger("teacher")

FILE = Path(__file__).parent / "teacher_scores.bin"
SEEDS = (1, 2)
EMOTIONS = list(data.EMOTIONS)
HEADS = Heads(
    [
        *ANSWERS.of.values(),
        *(Head(name, LABELS) for name in ("tweets_2009", "brands_sxsw", "apple", "selfdriving")),
        Head("sst2_train", [LABELS[data.NEGATIVE], LABELS[data.POSITIVE]]),
        Head("complaints_financial", ["complaint"], one=False),
        Head("complaints_reviews", ["complaint"], one=False),
        Head("goemotions_train", EMOTIONS, one=False),
        Head("tweet_emotion", ["anger", "joy", "optimism", "sadness"]),
        Head("sarcasm", ["sarcastic"], one=False),
        Head("tweet_irony", ["ironic"], one=False),
        Head("tweet_offensive", ["offensive"], one=False),
    ]
)
# The sets that teach an answer of the service.
OF_SENTIMENT = {"semeval_train", OWN}
OF_DISCONTENT = {"semeval_train", "complaints", "care_airlines_set1", "care_telecom_set1", OWN}
SMOOTHED = 0.04  # of the project's own posts: how much of the label is taken off

PLAN = Plan(
    "mpnet",
    epochs=8,  # short ones: two times over everything in all
    rate=5e-5,
    seed=0,
    batch=128,
    slips=0.05,
    renames=0.1,
    frames=0.05,
    draws={
        "semeval_train": 0.25,
        "tweets_2009": 0.25,
        "brands_sxsw": 0.15,
        "apple": 0.4,
        "selfdriving": 0.15,
        "complaints": 0.6,
        "care_airlines_set1": 0.6,
        "care_telecom_set1": 0.6,
        "complaints_financial": 0.3,
        "complaints_reviews": 0.3,
        "goemotions_train": 0.12,
        "sst2_train": 0.12,
        "tweet_emotion": 0.25,
        "sarcasm": 0.25,
        "tweet_irony": 0.25,
        "tweet_offensive": 0.12,
        OWN: 0.45,
    },
)
# How far the answer about a text of a set goes from what all such texts are asked to what its own
# annotators were.
OWN_HEAD = 0.5


def main() -> None:
    """Trains and scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--encoder", type=Path, default=Path(".cache/mpnet"))
    parser.add_argument("--state", type=Path, default=Path(".cache/training"))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--device", default="cpu", help="cpu (hours), cuda (minutes)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.state.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(options.state / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    rows, held_out = data.load(options.data)
    for seed in SEEDS:
        plan = replace(PLAN, name=f"{PLAN.name}-{seed}", seed=seed)
        if not (options.state / f"{plan.name}.npy").exists():
            network = mpnet.network(options.encoder, HEADS.outputs, seed)
            network.model.to(options.device)
            teach(network, rows, plan, options.state)
            validate(network, held_out)
            ask(network, rows, options.state / f"{plan.name}.npy")
    write(rows, [options.state / f"{PLAN.name}-{seed}.npy" for seed in SEEDS], options.out)


def teach(network, rows: list[Row], plan: Plan, state: Path, encoded=None) -> None:
    """Trains `network` on the labels of `rows`."""
    wanted = torch.from_numpy(np.stack([targets(row) for row in rows]))
    train.run(network, HEADS, rows, wanted, plan, state, encoded)


def targets(row: Row) -> np.ndarray:
    """`[outputs]` probabilities that the row's label asks for; NaN where it says nothing."""
    out = np.full(HEADS.outputs, np.nan, np.float32)
    if row.source in OF_SENTIMENT:
        out[row.answers.sentiment] = 1.0
        out[:DISCONTENT] = np.nan_to_num(out[:DISCONTENT])
    if row.source in OF_DISCONTENT and row.answers.discontent != UNKNOWN:
        out[DISCONTENT] = row.answers.discontent
    if row.source == OWN:
        out[:DISCONTENT] = (1 - SMOOTHED) * out[:DISCONTENT] + SMOOTHED / DISCONTENT
        out[DISCONTENT] = (1 - SMOOTHED) * out[DISCONTENT] + SMOOTHED / 2
    if row.source in HEADS.of:
        said = row.label.split(",")
        out[HEADS.places[row.source]] = [label in said for label in HEADS.of[row.source].labels]
    return out


def texts(rows: list[Row]) -> dict[str, str]:
    """The texts to score and their sources. For a sarcastic post whose author said what it means,
    that is scored. Made-up posts are left out: their labels stand."""
    return {row.meaning or row.text: row.source for row in rows if row.source != OWN}


def ask(network, rows: list[Row], file: Path) -> None:
    """Writes the answers about the texts of `rows` to `file`, `[texts, answers]`."""
    wanted = texts(rows)
    logits = predict.logits(network, list(wanted), roughly=True)
    np.save(file, answers(HEADS.probabilities(logits).numpy(), list(wanted.values())))


def answers(said: np.ndarray, sources: list[str]) -> np.ndarray:
    """`[texts, answers]` probabilities of all heads' `[texts, outputs]`: where the text is of a
    set whose annotators were asked the like, between the service's question and theirs."""
    out = said[:, : ANSWERS.outputs].copy()
    for source in set(sources) & set(HEADS.of):
        labels, place = HEADS.of[source].labels, HEADS.places[source]
        part = np.array([s == source for s in sources])
        if set(labels) <= set(LABELS):
            columns = [LABELS.index(label) for label in labels]
            theirs = said[part, place] * out[np.ix_(part, columns)].sum(-1, keepdims=True)
        elif source in data.CARE_SETS:
            columns, theirs = [DISCONTENT], said[part, place]
        else:
            continue
        out[np.ix_(part, columns)] += OWN_HEAD * (theirs - out[np.ix_(part, columns)])
    return out


def write(rows: list[Row], files: list[Path], out: Path) -> None:
    """Writes the mean of the answers in `files` as scores."""
    scores = Scores()
    scores.add(texts(rows), np.mean([np.load(file) for file in files], 0))
    scores.write(out)
    log.info("%d texts scored", len(scores))


def validate(network, held_out: list[Row]) -> None:
    """Logs what the teacher knows: the sets that ask a question of the service."""
    asked = [row for row in held_out if row.answers != data.UNLABELLED]
    said = HEADS.probabilities(predict.logits(network, [r.text for r in asked], roughly=True))
    sources = [row.source for row in asked]
    for name, p in (("product", said.numpy()), ("mixed", answers(said.numpy(), sources))):
        for source in dict.fromkeys(sources):
            part = np.array([s == source for s in sources])
            right = np.array([row.answers for row in asked])[part]
            if source in data.CARE_SETS:
                figure = metrics.average_precision(p[part, DISCONTENT], right[:, 1] == 1)
            else:
                chosen = p[part, :DISCONTENT].argmax(-1)
                figure = metrics.macro_recall(chosen, right[:, 0])
            log.info("%s, %s: %.1f", source, name, 100 * figure)


if __name__ == "__main__":
    main()
