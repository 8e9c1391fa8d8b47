"""Changes to a post that should not change its label."""

import random
import re
from collections.abc import Callable

import names

# Brands beyond names.KNOWN, and some that do not exist: training has none of them.
UNSEEN = (
    "Kaufland Bunnings Decathlon Jollibee Tchibo Rossmann Migros Mercadona Loblaws Ooredoo "
    "Proximus Swisscom Halfords Wowcher Bunq Zipplo Harrowgate Quarnt Umbrio Pellworth Okavi"
).split()
TONES = ["\U0001f3fb", "\U0001f3fd", "\U0001f3ff"]
HANDS = re.compile(
    "([\U0001f44a-\U0001f44f\U0001f64c\U0001f64f\U0001f4aa\U0001f937\U0001f926\u270a-\u270d])"
)


def known_name(text: str, rng: random.Random) -> str:
    """Every known brand name becomes another known one."""
    return names.PATTERN.sub(lambda _: rng.choice(names.KNOWN), text)


def unseen_name(text: str, rng: random.Random) -> str:
    """Every known brand name becomes one that training never saw."""
    return names.PATTERN.sub(lambda _: rng.choice(UNSEEN), text)


def mention(text: str, rng: random.Random) -> str:
    """Every mention becomes another account."""
    return re.sub(
        r"@\w+", lambda _: f"@{rng.choice(names.KNOWN)}{rng.choice(['', 'Help', '_care'])}", text
    )


def link(text: str, rng: random.Random) -> str:
    """Every link becomes a link to elsewhere."""
    return re.sub(
        r"\bhttp\b",
        lambda _: f"https://{rng.choice(names.KNOWN).lower()}.example/{rng.randrange(10**6)}",
        text,
    )


def upper(text: str, _: random.Random) -> str:
    """The whole post is shouted."""
    return text.upper().replace("HTTP", "http")


def skin_tone(text: str, rng: random.Random) -> str:
    """Every hand and shrug gets another skin tone."""
    return HANDS.sub(lambda m: m[0] + rng.choice(TONES), text)


def typo(text: str, rng: random.Random) -> str:
    """Two neighbouring letters of one longer word change places."""
    words = [m for m in re.finditer(r"[A-Za-z]{4,}", text) if m[0].lower() not in ("user", "http")]
    if not words:
        return text
    at = (word := rng.choice(words)).start() + rng.randrange(1, len(word[0]) - 1)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "another known brand name": known_name,
    "a brand name never seen": unseen_name,
    "another mention": mention,
    "another link": link,
    "upper case": upper,
    "another skin tone": skin_tone,
    "a typo (two letters swapped)": typo,
}


def changed(texts: list[str], change: str, seed: int = 1) -> list[tuple[int, str]]:
    """The texts that `change` alters: (index, changed text)."""
    rng = random.Random(f"{change}{seed}")
    pairs = ((i, CHANGES[change](text, rng)) for i, text in enumerate(texts))
    return [(i, new) for i, new in pairs if new != texts[i]]
