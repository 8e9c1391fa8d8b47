"""The posts: read, normalised, mapped to three classes, split, without duplicates.

A row is (text, target, weight, source). A target is a label's index, `NOT_NEGATIVE` (a care post
that annotators found to be no complaint: neutral or positive, nobody said which) or `UNLABELLED`.
Validation rows are chosen by a hash of the text, so that they never move, and no training row has
a near-identical text among them.
"""

import hashlib
import json
import logging
import random
import re
from dataclasses import dataclass
from pathlib import Path

import posts
from normalise import normalise

log = logging.getLogger("data")

LABELS = ["negative", "neutral", "positive"]
NEGATIVE, NEUTRAL, POSITIVE = range(3)
NOT_NEGATIVE, UNLABELLED = 3, 4
OWN_DRAWS = {"own": 2.0}

CARE = {"complaint": NEGATIVE, "other": NOT_NEGATIVE}
THREE = {label: index for index, label in enumerate(LABELS)}
EMOTIONS = {
    **dict.fromkeys(
        "admiration amusement approval caring desire excitement gratitude joy love optimism pride "
        "relief".split(),
        POSITIVE,
    ),
    **dict.fromkeys(
        "anger annoyance disappointment disapproval disgust embarrassment fear grief nervousness "
        "remorse sadness".split(),
        NEGATIVE,
    ),
    **dict.fromkeys("neutral curiosity confusion realization surprise".split(), NEUTRAL),
}


@dataclass(frozen=True)
class Source:
    """One file: how it is labelled, how much of it validates, how often it is drawn an epoch."""

    name: str
    labels: dict[str, int] | None
    held_out: float = 0.0
    draws: float = 1.0
    weight: float = 1.0
    words_min: int = 1


SOURCES = [
    Source("semeval_train", THREE),
    Source("semeval_val", THREE, held_out=1.0),
    Source("brands_sxsw", THREE, held_out=0.12, weight=0.6),
    Source("apple", THREE, held_out=0.15, draws=2.0),
    Source("selfdriving", THREE, held_out=0.10, weight=0.6),
    Source("complaints", CARE, held_out=0.35, draws=2.0),
    Source("care_airlines_set1", CARE, held_out=0.35, draws=2.0),
    Source("care_telecom_set1", CARE, held_out=0.35, draws=2.0),
    Source("goemotions_train", EMOTIONS, draws=0.4, weight=0.5, words_min=3),
    Source("sst2_train", THREE, held_out=0.01, draws=0.2, weight=0.5, words_min=6),
    Source("stream_spotify", None),
]

TWEETS = {
    "semeval_train", "brands_sxsw", "apple", "selfdriving", "complaints", "care_airlines_set1",
    "care_telecom_set1",
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A normalised post; `kind` is set on the project's own posts alone."""

    text: str
    target: int
    source: str
    weight: float = 1.0
    kind: str = ""


def load(folder: Path) -> tuple[list[Row], list[Row]]:
    """Returns (training rows, validation rows) of all sources and of the project's own posts."""
    train, held_out = [], []
    for source in SOURCES:
        for row in _read(folder, source):
            (held_out if _share(row.text) < source.held_out else train).append(row)
    held_out = _distinct(held_out + _own("validation", "own"))
    train += _own("train", "own")
    return _distinct(train, {k for row in held_out for k in _keys(row.text)}), held_out


def epoch(rows: list[Row], seed: int) -> list[Row]:
    """One epoch's rows: each source's draws (whole copies, then a random part), shuffled."""
    draws = {source.name: source.draws for source in SOURCES} | OWN_DRAWS
    rng = random.Random(seed)
    chosen = [r for r in rows for _ in range(int(draws[r.source] + rng.random()))]
    rng.shuffle(chosen)
    return chosen


def calibrates(row: Row) -> bool:
    """Whether calibration is fitted on this validation row; its figures come from the others.
    The project's own posts are in neither half: their make-up is nobody's stream."""
    return row.source != "own" and _share(row.text, "half") < 0.5


def _read(folder, source):
    file = folder / f"{source.name}.jsonl"
    if not file.exists() and not source.name.startswith("semeval"):
        log.warning("%s is missing: going on without it", file.name)
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        target = _target(record.get("label"), source.labels)
        text = clean(record["text"])
        if target is not None and len(text.split()) >= source.words_min:
            yield Row(text, target, source.name, source.weight)


def _own(part, source):
    return [Row(clean(p.text), THREE[p.label], source, kind=p.kind) for p in posts.posts(part)]


def _target(label, mapping):
    if mapping is None:
        return UNLABELLED
    targets = {mapping[part] for part in label.split(",")}
    targets = targets - {NEUTRAL} if len(targets) > 1 else targets
    return targets.pop() if len(targets) == 1 else None


def clean(text: str) -> str:
    """The normal form of a data set's text, its own place holders mapped to social-v1's."""
    text = text.replace("{link}", "http").replace("@mention", "@user")
    return normalise(re.sub(r'\\?"{2,}', '"', text))


def _keys(text):
    """What two near-identical posts share: their letters and digits, whole and in front."""
    letters = re.sub(r"@user|http|\brt\b|[\W_]", "", text.lower())
    return {letters, letters[:60]} if len(letters) >= 60 else {letters}


def _distinct(rows, seen=()):
    seen, kept = set(seen), []
    for row in rows:
        keys = _keys(row.text)
        if not keys & seen:
            kept.append(row)
        seen |= keys
    return kept


def _share(text, purpose=""):
    """A number in [0, 1) that depends on the text and the purpose alone."""
    key = (purpose + min(_keys(text), key=len)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") / 2**32
