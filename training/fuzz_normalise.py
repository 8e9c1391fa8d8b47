"""Texts that nobody wrote, prepared by both implementations: normalise.py and the service's.

Half of each text are characters of the whole of Unicode, half are what the rules look for, whole,
cut or one in the other. The first text that differs ends the run with an error and is shown.
"""

import argparse
import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

from normalise import ENTITIES, SCHEMES

CHUNK = 20_000
PIECES_MAX = 12

# What the rules look for, and what stands around it.
PIECES = [
    "@user", "@", "@shop_1", "RT @shop:", "RT", "rt @a: ", "http", "https://a.example/b?c=d#e",
    "http://", "www.", "www.shop.example", "shop.example/", "HTTPS://A.B", "a@b.example", "@b.c",
    "&amp;", "&lt", "&#64;", "&#x40;", "&#0;", "&#xD800;", "&#1114112;", "&hellip;", "&Amp;",
    "\\u2019", "\\u0000", "\\uD83D", "\\u00e9", "\\u", "12345678", "1234567", "0800 123 456 78",
    '"', "'", "\u2018", "\u2019", "\u201c", "\u201d", "\u201e", ".", "..", "...", "\u2026", "!",
    "\u200d\u2640", "\u200d\u2642", "\u200d", "\ufe0f", "\U0001f3fd", "\U0001f600", "\u2764",
    "\u00ad", "\u200b", "\ufeff", "\U000e0067", "\u0301", "e\u0301", "\u1100\u1161", "\ufb01",
    "\ufdfa", "\uff21", "\U0001d4d0", "\u00a0", "\u2003", "\u3000", "\x00", "\x1f", "\x85", "\t",
    "\n", "\r\n", " ", "  ", "late again", "no", "café", "#tag", ":", ",", "(", "-", "_", "\u0130",
]  # fmt: skip


def piece(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(PIECES)
    if kind < 0.5:
        cut = rng.choice(PIECES)
        return cut[: rng.randrange(len(cut) + 1)]
    if kind < 0.55:
        return f"&{rng.choice(list(ENTITIES))};"
    if kind < 0.75:
        return chr(rng.randrange(0x20, 0x7F))
    # What this Python's Unicode does not know yet, a newer one may compose otherwise.
    any_character = chr(rng.randrange(0x3000 if kind < 0.9 else 0x110000))
    return "" if unicodedata.category(any_character) in ("Cn", "Cs") else any_character


def text(rng: random.Random) -> str:
    between = rng.choice(("", " "))
    return between.join(piece(rng) for _ in range(rng.randrange(PIECES_MAX)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", type=Path, required=True, help="the example `normalise`")
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    schemes = list(SCHEMES)
    done = 0
    while done < args.texts:
        texts = [text(rng) for _ in range(min(CHUNK, args.texts - done))]
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        made = subprocess.run(
            [args.service, *schemes], input=lines, check=True, capture_output=True, text=True
        ).stdout.split("\n")[:-1]
        for raw, line in zip(texts, made, strict=True):
            ours, theirs = [SCHEMES[scheme](raw) for scheme in schemes], json.loads(line)
            for scheme, a, b in zip(schemes, ours, theirs):
                if a != b:
                    sys.exit(f"{scheme} of {raw!a}: Python {a!a}, the service {b!a}")
        done += len(texts)
    print(f"{done} texts, {len(schemes)} schemes: no difference")


if __name__ == "__main__":
    main()
