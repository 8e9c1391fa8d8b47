"""Changes to a post that should not change its label."""

import random
import re
from collections.abc import Callable

import posts

BRANDS = sorted(
    posts.SLOTS["brand"] + ["Google", "Twitter", "Microsoft", "iPhone", "iPad", "Verizon"]
)
BRAND = re.compile(rf"\b({'|'.join(BRANDS)})\b", re.IGNORECASE)
TONES = ["\U0001f3fb", "\U0001f3fd", "\U0001f3ff"]
HANDS = re.compile(
    "([\U0001f44a-\U0001f44f\U0001f64c\U0001f64f\U0001f4aa\U0001f937\U0001f926\u270a-\u270d])"
)


def brand(text: str, rng: random.Random) -> str:
    """Every brand name becomes another one."""
    return BRAND.sub(lambda m: rng.choice([b for b in BRANDS if b.lower() != m[0].lower()]), text)


def mention(text: str, rng: random.Random) -> str:
    """Every mention becomes another account."""
    return re.sub(
        r"@\w+", lambda _: f"@{rng.choice(BRANDS)}{rng.choice(['', 'Help', '_care'])}", text
    )


def link(text: str, rng: random.Random) -> str:
    """Every link becomes a link to elsewhere."""
    return re.sub(
        r"\bhttp\b",
        lambda _: f"https://{rng.choice(BRANDS).lower()}.example/{rng.randrange(10**6)}",
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
    "another brand name": brand,
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
