"""Brand names: those known share one word vector; training meets made-up ones.

A name carries the mood of its year ("another airline": as if it were a complaint), so a post's
score must not depend on whose it is. `own/names.txt` lists names written as one word. Each has one
entry of the vocabulary (vocabulary.py), all entries are trained as one (`Network.tokenise`), and
the shipped files hold the same vector for all: changing one of these names into another changes
nothing at all. Names beyond the list are met in training as made-up ones.

Words for who somebody is (`own/people.txt`), people's names (`own/person_names.txt`) and places
(`own/places.txt`) are treated alike: whether a neighbour is gay, Muslim or Polish, called Emma or
from Leeds says nothing of a post's mood, but the tweets of some years do.
"""

import random
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "own"


def _lines(file: str) -> list[list[str]]:
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


def _words(file: str) -> list[str]:
    return [word for line in _lines(file) for word in line]


KNOWN = sorted(set(_words("names.txt")))
# Groups of words that share a vector each: who somebody is, what they are called, where.
ALIKE = [*_lines("people.txt"), _words("person_names.txt"), _words("places.txt")]
PATTERN = re.compile(rf"\b(?:{'|'.join(KNOWN)})\b", re.IGNORECASE)

STARTS = (
    "al bel bri cal cor dan del dor el fen fin gal gro hal in jo kal ken lan lum mar mel mon nor "
    "ol per pol qui ran ro sal sen sil ta tel tor ul va vel vin wes xen yo zan ze"
).split()
MIDDLES = "a e i o u ra li no ti ve mo ka da lo ri".split()
ENDS = "ra go lia tel via nex do mo tech ly fy ster net eo ix on us ta zo".split()
FIRSTS = (
    "Blue Bright City Clear Cloud Cross Easy Fair Fast First Fresh Gold Green High Home Iron Metro "
    "New North Ocean Open Peak Prime Red River Rock Silver Smart South Star Sun True Urban West"
).split()
SECONDS = (
    "air bank bet box cab call cell cloud desk drive eats fly foods gear hub jet lane line link "
    "mart mobile net pay ride rail shop stream store tel trip wave ways works"
).split()


def made_up(rng: random.Random) -> str:
    """A name that nobody has heard of: "Velmora", "Brightcab", "River Foods"."""
    if rng.random() < 0.5:
        middle = "".join(rng.choices(MIDDLES, k=rng.randrange(2)))
        name = (rng.choice(STARTS) + middle + rng.choice(ENDS)).capitalize()
    else:
        first, second = rng.choice(FIRSTS), rng.choice(SECONDS)
        name = f"{first} {second.capitalize()}" if rng.random() < 0.3 else first + second
    return name.lower() if rng.random() < 0.3 else name


def renamed(text: str, rng: random.Random) -> str:
    """Every known name becomes a made-up one, the same name the same."""
    chosen: dict[str, str] = {}
    return PATTERN.sub(lambda m: chosen.setdefault(m[0].lower(), made_up(rng)), text)
