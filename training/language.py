"""Trains the gate that tells English from other languages written in Latin letters.

    python training/language.py DATA OUT

DATA is a folder of JSON lines with `text` (and `language` in languages.jsonl, from UMSAB);
OUT gets one signed byte a bucket of hashed character n-grams: the log-odds, in steps of
1/32, that a post that holds the n-gram is not English. The features and the sum are those
of crates/pounce-inference/src/language/english.rs.

A fifth of each file is held out; the thresholds in language.rs were chosen on it with
crates/pounce-inference/examples/languages.rs.
"""

import json
import sys
from pathlib import Path

import numpy as np

BUCKETS = 1 << 16
STEPS = 32
LETTERS_MAX = 400
# Only for evaluation.
HELD_OUT = {
    "semeval_val",
    "goemotions_dev",
    "care_airlines_set1",
    "care_telecom_set1",
    "complaints",
}
# Posts that are not, or not all, in English, or are no posts.
LEFT_OUT = {"languages", "stream_spotify", "handmade_posts", "sst2_train"}
EPOCHS = 25
L2 = 3e-6


def words(text: str) -> list[str]:
    """Runs of letters, in lower case, without mentions, tags and placeholders."""
    kept = [
        word
        for word in text.split()
        if word[0] not in "@#" and word not in ("http", "EMAIL", "NUMBER", "RT")
    ]
    text = "".join(c if c.isalpha() else " " for c in " ".join(kept).lower())
    found, letters = [], 0
    for word in text.split():
        letters += len(word)
        if letters > LETTERS_MAX:
            break
        found.append(word)
    return found


def bucket(gram: str) -> int:
    """FNV-1a, 32 bits, folded."""
    h = 0x811C9DC5
    for byte in gram.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return (h ^ (h >> 16)) & (BUCKETS - 1)


def features(text: str, memo: dict[str, list[int]]) -> list[int]:
    """Buckets of the n-grams of 1 to 4 characters of each word between spaces, and of the word."""
    out: list[int] = []
    for word in words(text):
        if word not in memo:
            padded = f" {word} "
            grams = [padded[i : i + n] for n in (1, 2, 3, 4) for i in range(len(padded) - n + 1)]
            memo[word] = [bucket(gram) for gram in [*grams, f"\n{word}"]]
        out.extend(memo[word])
    return out


def held_out(text: str) -> bool:
    """As examples/languages.rs takes them: texts of a multiple of five bytes."""
    return len(text.encode()) % 5 == 0


def is_latin(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return sum(c < "\u0250" for c in letters) * 2 > len(letters)


def main(data: Path, out: Path) -> None:
    memo: dict[str, list[int]] = {}
    rows, labels, weights = [], [], []
    counts: dict[str, int] = {}
    for file in sorted(data.glob("*.jsonl")):
        if file.stem in HELD_OUT or (file.stem in LEFT_OUT and file.stem != "languages"):
            continue
        for line in file.read_text().splitlines():
            row = json.loads(line)
            language = row.get("language", "en")
            if held_out(row["text"]) or not is_latin(row["text"]):
                continue
            found = features(row["text"], memo)
            if found:
                rows.append(found)
                labels.append(float(language != "en"))
                weights.append(language)
                counts[language] = counts.get(language, 0) + 1
    print(counts)
    share = {language: 1 / count for language, count in counts.items()}
    # Hindi is mixed with English, German is close to it.
    share["hi"] *= 2.5
    share["de"] *= 1.5
    others = sum(share[language] * counts[language] for language in counts if language != "en")
    share["en"] = 1.2 * others / counts["en"]
    weight = np.array([share[language] for language in weights])
    weight /= weight.mean()
    label = np.array(labels)
    lengths = np.array([len(row) for row in rows])
    flat = np.concatenate([np.array(row, dtype=np.int32) for row in rows])
    starts = np.concatenate([[0], np.cumsum(lengths)])

    rng = np.random.default_rng(1)
    w = np.zeros(BUCKETS)
    m, v = np.zeros(BUCKETS), np.zeros(BUCKETS)
    step, size = 0, 8192
    order = np.arange(len(rows))
    for epoch in range(EPOCHS):
        rng.shuffle(order)
        rate = 0.02 * (1 - epoch / EPOCHS)
        loss = 0.0
        for at in range(0, len(rows), size):
            chosen = order[at : at + size]
            lens = lengths[chosen]
            ends = np.cumsum(lens)
            index = np.repeat(starts[chosen] - (ends - lens), lens) + np.arange(ends[-1])
            grams = flat[index]
            logit = np.add.reduceat(w[grams], ends - lens)
            p = 1 / (1 + np.exp(-logit))
            error = (p - label[chosen]) * weight[chosen] / len(chosen)
            loss += -np.sum(weight[chosen] * np.log(np.where(label[chosen] > 0, p, 1 - p) + 1e-12))
            grad = np.bincount(grams, np.repeat(error, lens), BUCKETS) + L2 * w
            step += 1
            m = 0.9 * m + 0.1 * grad
            v = 0.999 * v + 0.001 * grad**2
            move = rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-9)
            w -= move
        print(epoch, round(loss / len(rows), 5), flush=True)
    out.write_bytes(np.clip(np.round(w * STEPS), -127, 127).astype(np.int8).tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
