"""The teacher's scores of many texts, small enough to be committed: no text, eight bytes each.

A file is a header and sorted records: five bytes of a hash of the text, then, in steps of 1/16 and
as signed bytes, the log-odds of negative against neutral, of positive against neutral, and of
discontent. Of 400,000 texts, two share a hash with a chance of 7 %.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from data import DISCONTENT, NEGATIVE, NEUTRAL, POSITIVE

MAGIC = b"pounce teacher scores 2\n"
HASH, RECORD, STEPS = 5, 8, 16


class Scores(dict[bytes, np.ndarray]):
    """The three signed bytes by hash."""

    def of(self, text: str) -> torch.Tensor | None:
        """`[outputs]` probabilities of `text`, if it was scored."""
        found = self.get(key(text))
        return None if found is None else torch.from_numpy(_probabilities(found))

    def add(self, texts: Iterable[str], probabilities: np.ndarray) -> None:
        """Adds `[texts, outputs]` probabilities."""
        p = np.clip(probabilities, 1e-6, 1 - 1e-6)
        odds = [p[:, NEGATIVE] / p[:, NEUTRAL], p[:, POSITIVE] / p[:, NEUTRAL],
                p[:, DISCONTENT] / (1 - p[:, DISCONTENT])]  # fmt: skip
        steps = np.rint(STEPS * np.log(np.stack(odds, 1))).clip(-127, 127).astype(np.int8)
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
        return cls((row[:HASH].tobytes(), row[HASH:].view(np.int8)) for row in table)


def key(text: str) -> bytes:
    """A hash of what a text says: place holders, white space, punctuation and case aside."""
    said = re.sub(r"@user|http|\brt\b|[\s!-/:-@\[-`{-~]", "", text.lower()) or text
    return hashlib.blake2b(said.encode(), digest_size=HASH).digest()


def _probabilities(steps):
    negative, positive, discontent = np.exp(steps.astype(np.float32) / STEPS)
    sentiment = np.array([negative, 1.0, positive], np.float32)
    return np.append(sentiment / sentiment.sum(), discontent / (1 + discontent)).astype(np.float32)
