"""Counterfactuals: the same post about somebody else, whom no list knows.

Words for who somebody is, first names and places that the vocabulary knows share a vector each
(names.py), so that swapping them changes nothing. Rarer words are cut into pieces, and the pieces
bring moods of their own. So the network learns that a post about somebody unheard of is what it
would be about somebody known: its own answer to that post is wanted for this one (counterfactual
data augmentation: Kaushik, Hovy and Lipton, ICLR 2020; as a penalty on logits: Garg et al., AIES
2019), and for everything else its own answer as it is.

The unheard of are peoples by their languages (ISO 639-3) and regions (ISO 3166-2), both of
pycountry, and words that are coined. None is of the behaviour suite, nor begins like one of its
words.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pycountry

import behaviour
import data
import names
import posts

ENDS = [*posts.ENDS, *"ist ous ive ent y sexual gender plegic -bodied -faced -class -aged".split()]
# What somebody is in several words: some told by a body that does less, in words that elsewhere
# are moods ("weak of sight", "a heavily bowed baker").
PHRASES = (
    "light on his feet|weak in the legs|unsteady on her feet|losing his sight|missing an arm|"
    "without a home|on crutches|in a wheelchair|out of work|between jobs|new to the country|"
    "far from home|born abroad|of mixed heritage|of no faith|of the old faith|well read|"
    "past seventy|in her teens|in their forties|nearly ninety|heavily built|tall for his age|"
    "small for her age|grey at the temples|broad in the shoulder|"
    "prone to fits|living with HIV|on benefits|of modest means|from the hills|"
    "from across the border|without papers|seeking asylum|not out yet"
).split("|")
MEASURES = (
    "slow short poor dim weak soft dull thick stiff heavy quick light fair dark broad faint rough "
    "bad low thin stout sore late quiet strong long sharp clumsy tired half loud"
).split()
FACULTIES = (
    "speech sight breath tongue voice hand limb foot step walking seeing reading learning talking "
    "swallowing standing waking memory face hair skin back arm"
).split()
DEGREES = "badly heavily severely poorly barely slightly wholly".split()
MARKS = "bowed scarred lamed bearded built spoken voiced limbed burned clad".split()
STARTS = "partly half newly formerly part born once".split()
CONSONANTS = (
    "b c d f g h j k l m n p r s t v w z br ch cr dr fl fr gl gr kr pl pr sh sl st str th tr"
).split()
VOWELS = "a a e e i o o u ai ea ee ou".split()
CODAS = ["", *"n r l ck st m d x".split()]
WORD = re.compile("[A-Za-z][A-Za-z-]*")

Draw = Callable[[random.Random], str]


def _unheard(entries) -> list[str]:
    """Names of one or two plain words that begin unlike the suite's."""
    stems = {word[:5].lower() for word in behaviour.words() | behaviour.proper_names()}
    plain = (re.sub(r"\(.*?\)|,.*", "", entry.name).strip() for entry in entries)
    plain = {name for name in plain if re.fullmatch(r"[^\W\d_]+(?:[ -][^\W\d_]+)?", name)}
    return sorted(name for name in plain if name[:5].lower() not in stems)


PEOPLES = _unheard(pycountry.languages)
REGIONS = _unheard(pycountry.subdivisions)


def coined(rng: random.Random) -> str:
    """One to three syllables that mean nothing."""
    return "".join(
        rng.choice(CONSONANTS) + rng.choice(VOWELS) + rng.choice(CODAS)
        for _ in range(rng.choice([1, 2, 2, 3]))
    )


def somebody(rng: random.Random) -> str:
    """A word for who somebody is: "Ghotuo", "stroean", "partly fraimed"."""
    draws: list[Draw] = [
        lambda rng: rng.choice(PEOPLES),
        lambda rng: rng.choice(posts.SLOTS["identity"]),
        lambda rng: coined(rng) + rng.choice(ENDS),
        lambda rng: rng.choice(PHRASES),
        lambda rng: f"{rng.choice(MEASURES)} of {rng.choice(FACULTIES)}",
        lambda rng: f"{rng.choice(DEGREES)} {rng.choice(MARKS)}",
        lambda rng: f"{rng.choice(STARTS)} {coined(rng)}{rng.choice(['ed', 'ing', 'ous', ''])}",
    ]
    return rng.choices(draws, [8, 4, 6, 1, 5, 1, 1])[0](rng)


def first_name(rng: random.Random) -> str:
    """A name that nobody has heard of."""
    return (rng.choice(PEOPLES).split()[0] if rng.random() < 0.5 else coined(rng)).capitalize()


def region(rng: random.Random) -> str:
    """A place that few have heard of."""
    return rng.choice(REGIONS) if rng.random() < 0.7 else coined(rng).capitalize()


# What words of each group of names.ALIKE become.
DRAWS: list[Draw] = [
    somebody,
    lambda rng: rng.choice(PEOPLES).split()[0] + "s",
    somebody,
    first_name,
    region,
]
KNOWN = {word: group for group, words in enumerate(names.ALIKE) for word in words}


def swapped(text: str, rng: random.Random) -> str:
    """`text` with words that no list knows for those of `names.ALIKE`, the same for the same."""
    chosen: dict[str, str] = {}

    def swap(match: re.Match) -> str:
        word = match[0].lower()
        if word not in KNOWN:
            return match[0]
        if word not in chosen:
            chosen[word] = DRAWS[KNOWN[word]](rng)
        return chosen[word] if match[0][0].isupper() else chosen[word].lower()

    return posts.article(re.sub(r"\b([Aa])n (?=\w)", r"\1 ", WORD.sub(swap, text)))


@dataclass(frozen=True)
class Sizes:
    """How many lessons there are. Groups are those of `names.ALIKE`."""

    templates: int = 40  # how often each template of own/train that names somebody is filled
    people: int = 4  # with how many others each time
    # How many posts that hold a word of each group are swapped, of others and of the project's own.
    others: dict[int, int] = field(
        default_factory=lambda: {0: 6_500, 1: 1_500, 2: 2_000, 3: 7_000, 4: 7_000}
    )
    own: dict[int, int] = field(default_factory=lambda: {3: 4_000, 4: 4_000})
    swaps: int = 2  # how often each
    kept: int = 50_000  # posts that keep their answer


def lessons(
    rows: list[data.Row], kept: np.ndarray, sizes: Sizes, seed: int
) -> list[tuple[str, str]]:
    """Pairs of texts: the network's answer to the first is wanted for the second. The first of
    those of `rows` that `kept` has the index of are paired with themselves."""
    rng = random.Random(seed)
    pairs = [
        pair
        for template in _templates()
        for _ in range(sizes.templates)
        for pair in _filled(template, sizes.people, rng)
    ]
    shuffled = rng.sample(rows, len(rows))
    for own, counts in ((False, sizes.others), (True, sizes.own)):
        left = dict(counts)
        for row in shuffled:
            found = {KNOWN.get(word.lower()) for word in WORD.findall(row.text)}
            group = next((group for group in left if group in found), None)
            if group is not None and left[group] and (row.source == data.OWN) == own:
                left[group] -= 1
                pairs += [(row.text, swapped(row.text, rng)) for _ in range(sizes.swaps)]
    return pairs + [(rows[index].text,) * 2 for index in kept[: sizes.kept]] * sizes.swaps


def _templates() -> list[str]:
    files = sorted((posts.FOLDER / "train").glob("*.txt"))
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return [line.split("\t")[1] for line in lines if line[:1] != "#" and "{identity}" in line]


def _filled(template: str, people: int, rng: random.Random) -> list[tuple[str, str]]:
    """A template with a word of the list, and with words that are in none."""
    half = posts.filled(template, rng, kept="identity")
    known = posts.article(half.replace("{identity}", rng.choice(names.ALIKE[0])))
    others = [posts.article(half.replace("{identity}", somebody(rng))) for _ in range(people)]
    return [(known, other.lower() if rng.random() < 0.3 else other) for other in others]
