"""The teachers of base size: trained on the labels, then asked about many texts.

`python teacher.py --data DIR --encoder DIR --state DIR` trains and scores; every step leaves its
result in the state folder, and an interrupted run goes on. Its scores end in
`training/teacher_scores.bin` (scores.py), from which `make model` starts: the hours are spent once.
`--hours` ends the scoring earlier; a later call goes on with the texts that are left.
"""

import argparse
import logging
import random
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

import data
import metrics
import mpnet
import predict
import train
from data import Row
from scores import Scores
from train import Plan

log = logging.getLogger("teacher")

FILE = Path(__file__).parent / "teacher_scores.bin"
CHUNK = 1024


@dataclass(frozen=True)
class Lesson:
    """A stage of the teacher's training: so many rows of each source, at random."""

    plan: Plan
    rows: dict[str, int]


ONCE = Plan("", epochs=1, rate=0.0, seed=0, batch=32, slips=0.0, renames=0.0, share=None)
LESSONS = (
    Lesson(
        replace(ONCE, name="mpnet-sentiment", rate=4e-5, seed=1),
        {"semeval_train": 12_000},
    ),
    Lesson(
        replace(ONCE, name="mpnet-both", rate=3e-5, seed=2, renames=0.1),
        {
            "semeval_train": 1_000,
            "complaints": 1_800,
            "care_airlines_set1": 500,
            "care_telecom_set1": 500,
            "complaints_financial": 800,
            data.OWN: 1_600,
        },
    ),
)

# What is scored first: where time is short, the rest goes without. Shares of a source's rows.
ORDER = (
    {"complaints": 1, "care_airlines_set1": 1, "care_telecom_set1": 1, "complaints_financial": 1},
    {"semeval_train": 0.4, "tweets_2009": 0.3, "apple": 1, "sarcasm": 1},
    {"tweets_unlabelled": 0.1, "stream_spotify": 0.2, "sst2_train": 0.1, "goemotions_train": 0.1},
    {"complaints_reviews": 0.7, "tweet_emotion": 0.7, "brands_sxsw": 0.3, "selfdriving": 0.3},
    {"semeval_train": 1, "tweets_2009": 0.6, "tweets_unlabelled": 0.25},
    {"stream_spotify": 1, "goemotions_train": 0.4, "sst2_train": 0.3, "tweet_offensive": 0.5},
    {source.name: 1 for source in data.SOURCES},
)


def main() -> None:
    """Trains and scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--encoder", type=Path, default=Path(".cache/mpnet"))
    parser.add_argument("--state", type=Path, default=Path(".cache/training"))
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--hours", type=float, default=24.0, help="longest time to score for")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.state.mkdir(parents=True, exist_ok=True)
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(options.state / "log.txt")]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers)
    rows, held_out = data.load(options.data)
    network = taught(options.encoder, rows, options.state)
    ask(network, texts(rows), options.out, time.monotonic() + 3600 * options.hours)
    _validate(network, held_out)


def taught(encoder: Path, rows: list[Row], state: Path, lessons=LESSONS):
    """The teacher after all `lessons`."""
    network = mpnet.network(encoder, seed=1)
    for lesson in lessons:
        train.run(
            network.model,
            network.forward,
            network.tokenise,
            sample(rows, lesson),
            lesson.plan,
            state,
        )
    return network


def sample(rows: list[Row], lesson: Lesson) -> list[Row]:
    """The rows of a lesson, the same at every call."""
    out = []
    for source, count in lesson.rows.items():
        of_source = [row for row in rows if row.source == source]
        random.Random(1).shuffle(of_source)
        out += of_source[:count]
    return out


def texts(rows: list[Row]) -> list[str]:
    """The texts to score, in `ORDER`. For a sarcastic post whose author said what it means, that
    is scored. Made-up posts are left out: their labels stand."""
    out: dict[str, None] = {}
    rows = [row for row in rows if row.source != data.OWN]
    places = [data.share(row.text, "teacher") for row in rows]
    for shares in ORDER:
        for row, place in zip(rows, places):
            if place < shares.get(row.source, 0):
                out[row.meaning or row.text] = None
    return list(out)


def ask(network, wanted: list[str], file: Path, until: float) -> None:
    """Scores the `wanted` texts that `file` lacks, and saves them chunk by chunk."""
    scores = Scores.read(file)
    missing = [text for text in wanted if scores.of(text) is None]
    log.info("%d texts to score, %d known", len(missing), len(scores))
    for start in range(0, len(missing), CHUNK):
        if time.monotonic() > until:
            log.info("out of time: %d texts are left", len(missing) - start)
            return
        chunk = missing[start : start + CHUNK]
        scores.add(chunk, predict.roughly(network, chunk).numpy())
        scores.write(file)
        log.info("scored %d of %d", start + len(chunk), len(missing))


def _validate(network, held_out):
    """Logs what the teacher knows: the validation tweets and the care sets."""
    rows = [row for row in held_out if row.source in ("semeval_val", *data.CARE_SETS)]
    said = predict.roughly(network, [row.text for row in rows]).numpy()
    for source in dict.fromkeys(row.source for row in rows):
        part = np.array([row.source == source for row in rows])
        answers = np.array([row.answers for row in rows])[part]
        if source in data.CARE_SETS:
            figure = metrics.average_precision(said[part, data.DISCONTENT], answers[:, 1] == 1)
        else:
            chosen = said[part, : data.DISCONTENT].argmax(-1)
            figure = metrics.macro_recall(chosen, answers[:, 0])
        log.info("%s: %.1f", source, 100 * figure)


if __name__ == "__main__":
    main()
