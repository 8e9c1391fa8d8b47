"""Golden scores: made-up posts with the shipped weights' fp32 probabilities, for parity tests."""

import json
from pathlib import Path

import data
import posts
from normalise import SCHEMES
from scoring import Fp32, Scorer

# Forms of text that plain posts lack; the rest are the project's own posts.
ODD = [
    "a", "?", "ok", "😭", "👍👍👍", "🤷🏽‍♀️ whatever", "@user", "https://example.com/status",
    "WHY IS IT DOWN AGAIN???", "fish &amp; chips were cold &lt;3", "caf\u0301e was closed",
    "it\u2019s \u201cfixed\u201d\u2026", "call +44 20 7946 0000 or mail help@example.com",
    "你好 world", "Der Zug war wieder zu spät", "no " * 90, "great " * 200,
    "n0t g00d", "#fail #customerservice #neveragain", "RT @user: we are hiring http",
    "  spaces   and\nlines\t", "supercalifragilisticexpialidocious" * 4, "100% 👌🏿",
    "¯\\_(ツ)_/¯", ":( :) :-/ ;-)", "so, so, so late 😡😡", "1 star", "5 stars ⭐⭐⭐⭐⭐",
    "meh", "not bad at all", "not good", "I don't hate it", "could be worse",
    "thanks for nothing", "thanks a lot!!",
]  # fmt: skip


def write(folder: Path, file: Path) -> None:
    """Writes {"text", "normalised", "negative", "neutral", "positive", "discontent"} lines for
    `folder`."""
    normalise = SCHEMES[json.loads((folder / "config.json").read_text())["pounce"]["normalisation"]]
    raw = [*ODD, *(post.text for post in posts.posts("validation"))]
    raw += [post.text for post in posts.posts("train")][::60]
    raw = [text for text in dict.fromkeys(raw) if normalise(text)]
    probabilities = Scorer(folder, Fp32(folder), batch=1)(raw)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lines:
        for text, row in zip(raw, probabilities.tolist()):
            record = {"text": text, "normalised": normalise(text)}
            record |= {name: round(p, 6) for name, p in zip(data.OUTPUTS, row)}
            lines.write(json.dumps(record) + "\n")
