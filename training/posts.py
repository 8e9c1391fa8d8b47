"""The project's own posts: made-up customers in plain words, by kind.

The files of `own/train/` and `own/validation/` were written apart from each other. Most complaints
name no feeling: that is what they are there to teach. Praise and neutral posts hold their twins
("stood in line an hour and I'd do it again"). A training post with slots in braces is filled in
several times.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "own"
LABEL = {
    **dict.fromkeys("waiting missing broken charged churn sarcasm".split(), "negative"),
    "praise": "positive",
    "question": "neutral",
    "neutral": "neutral",
}
COPIES = 4

SLOTS = {
    "brand": "Spotify Delta Amazon Ikea Vodafone Netflix Apple Tesco Ryanair DHL Uber Samsung "
    "Starbucks Walmart Comcast Lidl Hilton Acme Nordbank Zalora Bluefin Quickcart".split(),
    "item": "phone|laptop|kettle|tablet|coat|watch|bike|headset|router|lamp|sofa|camera|"
    "backpack|monitor|toaster|guitar".split("|"),
    "service": "internet|broadband|the wifi|hot water|mobile data|streaming|the landline".split(
        "|"
    ),
    "thing": "songs|photos|recipes|addresses|messages|notes".split("|"),
    "place": "Leeds|Denver|Dublin|Austin|Porto|Boston|Oslo|Perth|Chicago|Glasgow|Lyon".split("|"),
    "long": "25 minutes|47 minutes|an hour|two hours|1h20|90 mins|over an hour|35 min".split("|"),
    "weeks": "two weeks|3 weeks|a month|6 weeks|nine days|5 weeks|10 days".split("|"),
    "years": "six years|12 years|ten years|20 yrs|4 years".split("|"),
    "past": "on monday|last week|last Tuesday|yesterday|in april|three weeks ago|Friday".split("|"),
    "hour": "3pm|16:30|half past two|noon|7 pm|14:15".split("|"),
    "month": "May|june|September|october|February".split("|"),
    "money": "£40|$12.99|€75|$250|30 euros|19.90|$8|£120".split("|"),
    "nth": "second|third|4th|fifth".split("|"),
    "n": "2|three|4|five|7|3".split("|"),
    "big": "57|112|84|403|230".split("|"),
}


@dataclass(frozen=True)
class Post:
    """One made-up post."""

    text: str
    label: str
    kind: str


def posts(part: str) -> list[Post]:
    """The posts of `part` ("train" or "validation"), the same at every call."""
    rng = random.Random(part)
    out = {}
    files = sorted((FOLDER / part).glob("*.txt"))
    for line in "".join(file.read_text(encoding="utf-8") for file in files).splitlines():
        if line.startswith("#"):
            continue
        kind, template = line.split("\t")
        for _ in range(COPIES if "{" in template else 1):
            text = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(SLOTS[slot[1]]), template)
            text = text if part == "validation" else _spelt(text, rng)
            out[text] = Post(text, LABEL[kind], kind)
    return list(out.values())


def _spelt(text, rng):
    """As people type: without capitals or the full stop, with a mention in front."""
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip(".")
    if rng.random() < 0.2 and "@user" not in text:
        text = f"@user {text}"
    return text
