"""The tokeniser: uncased WordPiece with entries for emoji, brands and words for people and places.

BERT's vocabulary has no emoji: all of them would be [UNK]. social-v1 sets each emoji apart as a
word, so one entry each suffices; they replace [unused0], [unused1], ... in block order. Their
vectors start as the mean of the pieces of their Unicode names ("loudly crying face").

The brand names of names.py that BERT would cut into pieces replace the last of its one-character
pieces of other scripts; all known names start with the same vector, the mean of those it has. The
words of `names.ALIKE` that it would cut replace letters of other scripts.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

import names

# Faces and gestures first: the entries run out before the blocks do.
BLOCKS = [
    (0x1F600, 0x1F64F), (0x1F90C, 0x1F945), (0x1F970, 0x1F97A), (0x1F9D0, 0x1F9E6),
    (0x1FAE0, 0x1FAF8), (0x2639, 0x263B), (0x2763, 0x2764), (0x2660, 0x2667), (0x270A, 0x270D),
    (0x1F440, 0x1F4FF), (0x1F493, 0x1F49F), (0x1F525, 0x1F52B), (0x1F5A4, 0x1F5A4),
    (0x1F380, 0x1F3F0), (0x1F680, 0x1F6C5), (0x2600, 0x2615), (0x2705, 0x2757), (0x26A0, 0x26AB),
    (0x231A, 0x231B), (0x23E9, 0x23F3), (0x2B50, 0x2B55), (0x1F300, 0x1F37F), (0x1F400, 0x1F43F),
    (0x1F500, 0x1F53D), (0x1F550, 0x1F567), (0x1F947, 0x1F96F), (0x1F97B, 0x1F9CF),
    (0x1F1E6, 0x1F1FF), (0x1FA70, 0x1FAC5),
]  # fmt: skip


def emoji(count: int) -> list[str]:
    """The first `count` named symbols of `BLOCKS`."""
    symbols = dict.fromkeys(
        chr(code)
        for first, last in BLOCKS
        for code in range(first, last + 1)
        if unicodedata.name(chr(code), "")
    )
    return list(symbols)[:count]


@dataclass(frozen=True)
class Additions:
    """The new entries: `emoji` (id -> ids of the pieces of its name), the ids of all known brand
    `names`, and of those the ids that have a published vector (`known_names`)."""

    emoji: dict[int, list[int]]
    names: list[int]
    known_names: list[int]


def extended(tokenizer_json: Path) -> tuple[Tokenizer, Additions]:
    """The tokeniser with emoji and brand names, without truncation and padding."""
    spec = json.loads(tokenizer_json.read_text())
    spec["truncation"] = spec["padding"] = None
    vocab = spec["model"]["vocab"]
    published = Tokenizer.from_str(json.dumps(spec))
    unused = sorted((i, t) for t, i in vocab.items() if t.startswith("[unused"))
    pieces = {}
    for (index, token), symbol in zip(unused, emoji(len(unused))):
        if symbol in vocab:
            continue
        vocab[symbol] = vocab.pop(token)
        name = unicodedata.name(symbol).lower()
        pieces[index] = published.encode(name, add_special_tokens=False).ids
    known = [name.lower() for name in names.KNOWN]
    there = [vocab[name] for name in known if name in vocab]
    foreign = sorted((i, t) for t, i in vocab.items() if re.fullmatch("##[^\x00-\u1fff]", t))
    for name in known:
        if name not in vocab:
            vocab[name] = vocab.pop(foreign.pop()[1])
    additions = Additions(pieces, sorted(vocab[name] for name in known), there)
    return Tokenizer.from_str(json.dumps(spec)), additions


def with_words(tokeniser: Tokenizer) -> tuple[Tokenizer, set[int]]:
    """The tokeniser with an entry for each word of `names.ALIKE`, while there are letters to
    replace, and the ids of the new entries: their vectors are those letters', and mean nothing
    yet."""
    spec = json.loads(tokeniser.to_str())
    vocab = spec["model"]["vocab"]
    foreign = sorted(((i, t) for t, i in vocab.items() if _foreign_letter(t)), reverse=True)
    lacking = [word for group in names.ALIKE for word in group if word not in vocab]
    new = set()
    for word, (index, letter) in zip(lacking, foreign):
        del vocab[letter]
        vocab[word] = index
        new.add(index)
    return Tokenizer.from_str(json.dumps(spec)), new


def alike(tokenizer: Tokenizer) -> list[list[int]]:
    """Groups of ids that are trained as one: the brand names, and those of `names.ALIKE`."""
    groups = [[name.lower() for name in names.KNOWN], *names.ALIKE]
    found = ({tokenizer.token_to_id(word) for word in group} - {None} for group in groups)
    return [sorted(group) for group in found if group]


def _foreign_letter(token: str) -> bool:
    letter = token.removeprefix("##")
    return len(letter) == 1 and letter >= "\u0400" and unicodedata.category(letter) == "Lo"


def give_vectors(embeddings: torch.nn.Embedding, additions: Additions) -> None:
    """Sets each emoji's vector to the mean of its name's pieces, each brand's to one for all."""
    with torch.no_grad():
        known = embeddings.weight.clone()
        for index, ids in additions.emoji.items():
            embeddings.weight[index] = known[ids].mean(0)
        embeddings.weight[additions.names] = known[additions.known_names].mean(0)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and vocab.txt (one entry a line, in the order of ids)."""
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    lines = "\n".join(token for token, _ in vocab)
    (folder / "vocab.txt").write_text(lines + "\n", encoding="utf-8")
