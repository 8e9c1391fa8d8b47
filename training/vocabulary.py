"""The tokeniser: uncased WordPiece whose unused entries hold the emoji.

BERT's vocabulary has no emoji: all of them would be [UNK]. social-v1 sets each emoji apart as a
word, so one entry each suffices; they replace [unused0], [unused1], ... in block order. Their
vectors start as the mean of the pieces of their Unicode names ("loudly crying face").
"""

import json
import unicodedata
from pathlib import Path

import torch
from tokenizers import Tokenizer

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


def with_emoji(tokenizer_json: Path) -> tuple[Tokenizer, dict[int, list[int]]]:
    """The tokeniser with emoji for its unused entries, without truncation and padding.

    Also returns, for each new entry, the ids of the pieces of its name.
    """
    spec = json.loads(tokenizer_json.read_text())
    spec["truncation"] = spec["padding"] = None
    vocab = spec["model"]["vocab"]
    names = Tokenizer.from_str(json.dumps(spec))
    unused = sorted((i, t) for t, i in vocab.items() if t.startswith("[unused"))
    pieces = {}
    for (index, token), symbol in zip(unused, emoji(len(unused))):
        if symbol in vocab:
            continue
        vocab[symbol] = vocab.pop(token)
        name = unicodedata.name(symbol).lower()
        pieces[index] = names.encode(name, add_special_tokens=False).ids
    return Tokenizer.from_str(json.dumps(spec)), pieces


def give_vectors(embeddings: torch.nn.Embedding, pieces: dict[int, list[int]]) -> None:
    """Sets each new entry's vector to the mean of its name's pieces."""
    with torch.no_grad():
        known = embeddings.weight.clone()
        for index, ids in pieces.items():
            embeddings.weight[index] = known[ids].mean(0)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Writes tokenizer.json and vocab.txt (one entry a line, in the order of ids)."""
    tokenizer.save(str(folder / "tokenizer.json"))
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    lines = "\n".join(token for token, _ in vocab)
    (folder / "vocab.txt").write_text(lines + "\n", encoding="utf-8")
