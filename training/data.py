"""The posts: read, normalised, labelled, split, without duplicates.

A post is labelled by two questions: its sentiment (three classes, as annotators of tweets give it)
and discontent (is the writer unhappy with what was delivered to them?). A set answers the one that
its annotators were asked; the other answer is `UNKNOWN`, and training takes the teacher's.
Validation rows are chosen by a hash of the text, so that they never move, and no training row has
a near-identical text among them.
"""

import hashlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

import posts
from normalise import normalise

log = logging.getLogger("data")

LABELS = ["negative", "neutral", "positive"]
NEGATIVE, NEUTRAL, POSITIVE = range(3)
DISCONTENT = 3  # the output beside the three of sentiment
OUTPUTS = [*LABELS, "discontent"]
UNKNOWN = -1
OWN, HANDMADE = "own", "handmade_posts"


class Answers(NamedTuple):
    """The class of sentiment and whether it is discontent (0 or 1); `UNKNOWN`: not asked."""

    sentiment: int = UNKNOWN
    discontent: int = UNKNOWN


UNLABELLED = Answers()
CARE = {"complaint": Answers(discontent=1), "other": Answers(discontent=0)}
# Who is pleased with a post's matter is not discontent; who isn't may be so with the weather.
OF_CLASS = [Answers(NEGATIVE), Answers(NEUTRAL), Answers(POSITIVE, 0)]
THREE = dict(zip(LABELS, OF_CLASS))
EMOTIONS = {
    emotion: OF_CLASS[label]
    for label, emotions in {
        POSITIVE: "admiration amusement approval caring desire excitement gratitude joy love "
        "optimism pride relief",
        NEGATIVE: "anger annoyance disappointment disapproval disgust embarrassment fear grief "
        "nervousness remorse sadness",
        NEUTRAL: "neutral curiosity confusion realization surprise",
    }.items()
    for emotion in emotions.split()
}


@dataclass(frozen=True)
class Source:
    """One file: what its labels answer (`None`: neither question), how much of it validates."""

    name: str
    labels: dict[str, Answers] | None
    held_out: float = 0.0
    words_min: int = 1


SOURCES = [
    Source("semeval_train", THREE),
    Source("semeval_val", THREE, held_out=1.0),
    Source("tweets_2009", THREE, held_out=0.08),
    Source("brands_sxsw", THREE, held_out=0.12),
    Source("apple", THREE, held_out=0.15),
    Source("selfdriving", THREE, held_out=0.10),
    Source("complaints", CARE, held_out=0.35),
    Source("care_airlines_set1", CARE, held_out=0.35),
    Source("care_telecom_set1", CARE, held_out=0.35),
    Source("complaints_financial", CARE, held_out=0.25),
    Source("complaints_reviews", CARE, held_out=0.25),
    Source("goemotions_train", EMOTIONS, words_min=3),
    Source("sst2_train", THREE, held_out=0.01, words_min=6),
    Source("tweet_emotion", EMOTIONS),
    Source("sarcasm", None),
    Source("tweet_irony", None),
    Source("tweet_offensive", None),
    Source("tweets_unlabelled", None),
    Source("stream_spotify", None),
    Source(HANDMADE, THREE, held_out=1.0),
]
CARE_SETS = [source.name for source in SOURCES if source.labels is CARE]


@dataclass(frozen=True)
class Row:
    """A normalised post. `label` is what its set says of it, in the set's own words. `kind` and
    `pair`, which twins share, are set on made-up posts alone; `meaning` is what a sarcastic post
    says, in its author's plain words; it is drawn `draws` times as often as its source says."""

    text: str
    answers: Answers
    source: str
    label: str = ""
    kind: str = ""
    pair: str = ""
    meaning: str = ""
    draws: float = 1.0


def load(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns (training rows, validation rows) of all sources and of the project's own posts."""
    train, held_out = [], []
    for source in SOURCES:
        for row in _read(folder, source):
            (held_out if share(row.text) < source.held_out else train).append(row)
    held_out = _distinct(held_out + _own("validation"))
    train += _own("train")
    return _distinct(train, {k for row in held_out for k in _keys(row.text)}), held_out


def draw(rows: list[Row], draws: dict[str, float], seed: tuple[int, ...]) -> np.ndarray:
    """Indices of an epoch's rows, shuffled: each as often as `draws` says of its source and the
    row itself (whole copies, then perhaps one more); none of a source that isn't named."""
    rng = np.random.default_rng(seed)
    times = np.array([draws.get(row.source, 0.0) * row.draws for row in rows])
    times = (times + rng.random(len(rows))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(rows)), times))


def calibrates(row: Row) -> bool:
    """Whether calibration is fitted on this validation row; its figures come from the others.
    Made-up posts are in neither half: their make-up is nobody's stream."""
    return row.source not in (OWN, HANDMADE) and share(row.text, "half") < 0.5


def _read(folder, source):
    file = folder / f"{source.name}.jsonl"
    if not file.exists() and not source.name.startswith("semeval"):
        log.warning("%s is missing: going on without it", file.name)
        return
    twins = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        answers = _answers(record, source.labels)
        text = clean(record["text"])
        if len(text.split()) >= source.words_min:
            meaning = clean(record.get("rephrase") or "")
            kind, pair = record.get("kind", ""), ""
            if kind.startswith("pair_"):  # twins stand one after the other
                twins, pair = twins + 1, f"{source.name}/{twins // 2}"
            label = record.get("label", "")
            yield Row(text, answers, source.name, label, kind, pair, meaning)


def _own(part):
    def row(post):
        answers = Answers(LABELS.index(post.label), post.discontent)
        kept = {"kind": post.kind, "pair": post.pair, "draws": post.draws}
        return Row(clean(post.text), answers, OWN, post.label, **kept)

    return [row(post) for post in posts.posts(part)]


def _answers(record, labels):
    """The answers of a record; neither if its labels are at odds."""
    if labels is None:
        return UNLABELLED
    found = {labels[part] for part in record["label"].split(",")}
    found = found - {OF_CLASS[NEUTRAL]} if len(found) > 1 else found
    if len(found) > 1:
        return UNLABELLED
    answers = found.pop()
    if "complaint" in record:
        answers = answers._replace(discontent=int(record["complaint"]))
    return answers


def clean(text: str) -> str:
    """The normal form of a data set's text, its own place holders mapped to social-v1's."""
    text = text.replace("{link}", "http").replace("@mention", "@user")
    return normalise(re.sub(r'\\?"{2,}', '"', text))


def _keys(text):
    """What two near-identical posts share: their letters and digits, whole and in front."""
    letters = re.sub(r"@user|http|\brt\b|[\W_]", "", text.lower())
    return {letters, letters[:60]} if len(letters) >= 60 else {letters or text}


def _distinct(rows, seen=()):
    seen, kept = set(seen), []
    for row in rows:
        keys = _keys(row.text)
        if not keys & seen:
            kept.append(row)
        seen |= keys
    return kept


def share(text: str, purpose: str = "") -> float:
    """A number in [0, 1) that depends on the text and the purpose alone."""
    key = (purpose + min(_keys(text), key=len)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") / 2**32
