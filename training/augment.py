"""What training does to a post that should not change its label: slips of the finger, other names,
another frame of mentions, links and hashtags.

None of it is what validation does (robustness.py): the names are made up, and a slip is one of
five kinds.
"""

import random
import re

import names

ROWS = ["qwertyuiop", "asdfghjkl", "zxcvbnm"]
BESIDE = {
    key: [row[j] for j in (i - 1, i + 1) if 0 <= j < len(row)]
    for row in ROWS
    for i, key in enumerate(row)
}
TAGS = "monday friday news life today london summer morning weekend music work photo".split()
KEPT = {"user", "http", "email", "number"}


def changed(
    text: str, rng: random.Random, slips: float, renames: float, frames: float = 0.0
) -> str:
    """Perhaps without its mentions (one post of 20), with made-up brand names (`renames`: the share
    of posts), with one slip or two (`slips`), in another frame (`frames`)."""
    if rng.random() < 0.05:
        text = text.replace("@user", "").strip() or text
    if rng.random() < frames:
        text = framed(text, rng)
    if rng.random() < renames:
        text = names.renamed(text, rng)
    if rng.random() < slips:
        text = slip(text, rng)
        text = slip(text, rng) if rng.random() < 0.3 else text
    return text


def framed(text: str, rng: random.Random) -> str:
    """One thing round the post is there, or isn't: a mention in front or at the end, a link, a
    hashtag, quotes, a full stop, capitals."""
    inner = text.removeprefix("@user ").removesuffix(" http")
    return rng.choice(
        [
            f"@user {inner}",
            f"{text} @user",
            f"{inner} http",
            f"{text} #{rng.choice(TAGS)}",
            f'"{inner}"',
            f"{text}." if text[-1:].isalnum() else text.rstrip(".") or text,
            text.upper().replace("@USER", "@user").replace("HTTP", "http"),
            inner,
        ]
    )


def slip(text: str, rng: random.Random) -> str:
    """Two letters of a word change places, or one is left out, doubled, or its neighbour on the
    keyboard, or the space behind the word is lost."""
    words = [m for m in re.finditer(r"[A-Za-z]{3,}", text) if m[0].lower() not in KEPT]
    if not words:
        return text
    word = rng.choice(words)
    at = word.start() + rng.randrange(len(word[0]) - 1)
    here, after = text[at], text[at + 1]
    rest = text[at + 2 :]
    kind = rng.choices(["swap", "drop", "double", "beside", "join"], [5, 2, 1, 2, 0.5])[0]
    if kind == "swap":
        return text[:at] + after + here + rest
    if kind == "drop":
        return text[:at] + after + rest
    if kind == "double":
        return text[:at] + here + here + after + rest
    if kind == "beside":
        return text[:at] + rng.choice(BESIDE[here.lower()]) + after + rest
    end = word.end()
    return text[:end] + text[end + 1 :] if text[end : end + 1] == " " else text
