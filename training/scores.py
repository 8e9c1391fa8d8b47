"""The teachers' scores of many texts, small enough to be committed: no text, eight bytes each.

A file is a header and sorted records: five bytes of a hash of the text, then P(negative),
P(positive) and P(discontent) in steps of 1/255 (neutral is what is left). Of 200,000 texts, two
share a hash with a chance of 2 %.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from data import DISCONTENT, NEGATIVE, POSITIVE

MAGIC = b"pounce teacher scores 1\n"
HASH, RECORD = 5, 8
KEPT = (NEGATIVE, POSITIVE, DISCONTENT)


class Scores(dict[bytes, np.ndarray]):
    """Steps of 1/255 by hash."""

    def of(self, text: str) -> torch.Tensor | None:
        """`[outputs]` probabilities of `text`, if it was scored."""
        found = self.get(key(text))
        return None if found is None else torch.from_numpy(_whole(found))

    def add(self, texts: Iterable[str], probabilities: np.ndarray) -> None:
        """Adds `[texts, outputs]` probabilities."""
        steps = np.rint(probabilities[:, KEPT] * 255).astype(np.uint8)
        self.update(zip(map(key, texts), steps))

    def write(self, file: Path) -> None:
        """Writes all of them, in order of their hashes."""
        records = b"".join(k + self[k].tobytes() for k in sorted(self))
        aside = file.with_suffix(".part")
        aside.write_bytes(MAGIC + records)
        aside.rename(file)

    @classmethod
    def read(cls, file: Path) -> "Scores":
        """Reads a file of them; none, where there is no file."""
        if not file.exists():
            return cls()
        whole = file.read_bytes()
        if not whole.startswith(MAGIC) or (len(whole) - len(MAGIC)) % RECORD:
            raise ValueError(f"{file} holds no teacher's scores")
        table = np.frombuffer(whole, np.uint8, offset=len(MAGIC)).reshape(-1, RECORD)
        return cls((row[:HASH].tobytes(), row[HASH:]) for row in table)


def key(text: str) -> bytes:
    """A hash of what a text says: place holders, white space, punctuation and case aside."""
    said = re.sub(r"@user|http|\brt\b|[\s!-/:-@\[-`{-~]", "", text.lower()) or text
    return hashlib.blake2b(said.encode(), digest_size=HASH).digest()


def _whole(steps):
    negative, positive, discontent = steps.astype(np.float32) / 255
    sentiment = np.array([negative, max(0.0, 1 - negative - positive), positive], np.float32)
    return np.append(sentiment / sentiment.sum(), discontent).astype(np.float32)
