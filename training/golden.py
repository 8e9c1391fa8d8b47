"""Golden scores: made-up posts with the shipped weights' fp32 probabilities, for parity tests."""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

import data
import posts
from normalise import normalise

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
    """Writes {"text", "normalised", "negative", "neutral", "positive"} lines for `folder`."""
    raw = [*ODD, *(post.text for post in posts.posts("validation"))]
    raw += [post.text for post in posts.posts("train")][::20]
    raw = [text for text in dict.fromkeys(raw) if normalise(text)]
    config = json.loads((folder / "config.json").read_text())
    tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokeniser.enable_truncation(config["pounce"]["tokens_max"])
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as lines, torch.inference_mode():
        for text in raw:
            ids = torch.tensor([tokeniser.encode(normalise(text)).ids])
            probabilities = torch.softmax(model(input_ids=ids).logits[0], -1).tolist()
            record = {"text": text, "normalised": normalise(text)}
            record |= {label: round(p, 6) for label, p in zip(data.LABELS, probabilities)}
            lines.write(json.dumps(record) + "\n")
