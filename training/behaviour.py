"""A suite of behaviours: what a model must do with posts that are made to test one capability.

After CheckList (Ribeiro et al., ACL 2020). A test of expectation fills templates with words and
says which answers are right. A test of sameness fills a template with every word of one slot
(`vary`), or changes a post in a way that means nothing (`change`): each set must get one answer.
The templates, words and posts are the project's own and are in no training data; the common words
for who somebody is (`names.ALIKE`), which the vocabulary knows, are a group of their own.
"""

import itertools
import random
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import names
from data import LABELS
from posts import article
from robustness import typo

FOLDER = Path(__file__).parent / "behaviours"
KNOWN = "known words"  # what the report calls those of names.ALIKE
CASES_MAX = 200  # of a template: enough for a rate, seeded

Slots = dict[str, list[str]]


@dataclass(frozen=True)
class Test:
    """One line of the report. `sets` are texts that must get the same answer, or texts alone
    where an answer is expected: the classes that are right, and whether it is discontent."""

    capability: str
    name: str
    sets: list[list[str]]
    sentiment: frozenset[int] | None = None
    discontent: bool | None = None

    def failures(self, chosen: list[np.ndarray], flagged: list[np.ndarray]) -> tuple[float, float]:
        """The shares of sets with a wrong class and with a wrong flag, given those of each text."""
        if self.sentiment is None and self.discontent is None:
            same = [(len(set(c)) > 1, len(set(f)) > 1) for c, f in zip(chosen, flagged)]
            return tuple(np.mean(same, 0))
        wrong = [
            (
                self.sentiment is not None and not set(c) <= self.sentiment,
                self.discontent is not None and set(f) != {self.discontent},
            )
            for c, f in zip(chosen, flagged)
        ]
        return tuple(np.mean(wrong, 0))


def tests() -> list[Test]:
    """All tests of the suite, the same at every call."""
    lexicon = _lexicon()
    identities = lexicon.pop("identity")
    out = []
    for file in sorted(FOLDER.glob("*.toml")):
        if file.name == "lexicon.toml":
            continue
        said = tomllib.loads(file.read_text(encoding="utf-8"))
        capability = said["capability"]
        for test in said["test"]:
            rng = random.Random(test["name"])
            if "change" in test:
                change = CHANGES.get(test["change"], _framed(test["change"]))
                sets = [[post, change(post, rng)] for post in said["posts"]]
                sets = [pair for pair in sets if pair[0] != pair[1]]
                out.append(Test(capability, test["name"], sets))
                continue
            expected = (
                frozenset(map(LABELS.index, test["sentiment"])) if "sentiment" in test else None,
                test.get("discontent"),
            )
            if test.get("vary") == "identity":
                for group, words in {**identities, KNOWN: names.ALIKE[0]}.items():
                    slots = {**lexicon, "identity": words}
                    out.append(_one_by_one(f"{capability}: {group}", test, slots, expected))
                every = {"all terms": [sum(identities.values(), [])], KNOWN: [names.ALIKE[0]],
                         "one group's terms": list(identities.values())}  # fmt: skip
                for of, groups in every.items():
                    name = f"{test['name']} (a set of {of})"
                    varied = [{**lexicon, "identity": words} for words in groups]
                    out.append(_sets(capability, name, test["templates"], varied, "identity", rng))
            elif "vary" in test:
                out.append(_sets(capability, test["name"], test["templates"], [lexicon],
                                 test["vary"], rng))  # fmt: skip
            else:
                out.append(_one_by_one(capability, test, lexicon, expected))
    return out


Answers = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]  # texts to classes and flags


def report(models: list[Answers]) -> list[list]:
    """Lines of a table: capability, test, sets, and of each of `models` the shares in per cent that
    fail by class and by flag."""
    suite = tests()
    texts = list(dict.fromkeys(t for test in suite for one in test.sets for t in one))
    index = {text: i for i, text in enumerate(texts)}
    said = [model(texts) for model in models]
    lines = []
    for test in suite:
        places = [[index[t] for t in one] for one in test.sets]
        cells = []
        for answers in said:
            of_sets = [[answer[place] for place in places] for answer in answers]
            cells += [f"{100 * share:.0f}" for share in test.failures(*of_sets)]
        lines.append([test.capability, test.name, len(test.sets), *cells])
    return lines


def words() -> set[str]:
    """The suite's identity terms, which training must not meet."""
    return {word.lower() for group in _lexicon()["identity"].values() for word in group}


def proper_names() -> set[str]:
    """Its first names and places. Some of them are common enough to be in training too."""
    return {word.lower() for slot in ("name", "town") for word in _lexicon()[slot]}


def _lexicon() -> dict:
    return tomllib.loads((FOLDER / "lexicon.toml").read_text(encoding="utf-8"))


def _one_by_one(capability, test, slots, expected) -> Test:
    rng = random.Random(capability + test["name"])
    texts = [t for template in test["templates"] for t in _filled(template, slots, rng)]
    return Test(capability, test["name"], [[text] for text in texts], *expected)


def _sets(capability, name, templates, varied, vary, rng) -> Test:
    """A set is a template with every word of the slot `vary`; `varied` are the choices of slots."""
    sets = []
    for slots in varied:
        others = {slot: values for slot, values in slots.items() if slot != vary}
        for template in templates:
            for half in _filled(template, others, rng, 12):
                sets.append([article(half.replace(f"{{{vary}}}", word)) for word in slots[vary]])
    return Test(capability, name, sets)


def _filled(
    template: str, slots: Slots, rng: random.Random, most: int = CASES_MAX
) -> Iterator[str]:
    """`template` with every choice of words, or `most` of them."""
    named = [slot for slot in re.findall(r"\{(\w+)\}", template) if slot in slots]
    named = list(dict.fromkeys(named))
    choices = list(itertools.product(*(slots[slot] for slot in named)))
    if len(choices) > most:
        choices = rng.sample(choices, most)
    for choice in choices:
        text = template
        for slot, word in zip(named, choice):
            text = text.replace(f"{{{slot}}}", word)
        yield article(text)


def _framed(frame: str) -> Callable[[str, random.Random], str]:
    return lambda post, _: frame.replace("{post}", post)


def _without_a_letter(text: str, rng: random.Random) -> str:
    word = rng.choice(list(re.finditer(r"[A-Za-z]{5,}", text)))
    at = rng.randrange(word.start() + 1, word.end() - 1)
    return text[:at] + text[at + 1 :]


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "upper": lambda post, _: post.upper(),
    "lower": lambda post, _: post.lower(),
    "stop": lambda post, _: post + "." * post[-1].isalnum(),
    "swap": typo,
    "drop": _without_a_letter,
    "spaces": lambda post, _: post.replace(" ", "  "),
}
