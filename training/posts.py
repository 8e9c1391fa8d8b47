"""The project's own posts: made-up customers in plain words, by kind.

The files of `own/train/` and `own/validation/` were written apart from each other. Most complaints
name no feeling: that is what they are there to teach. Praise and neutral posts hold their twins
("stood in line an hour and I'd do it again"). A training post with slots in braces is filled in
several times.

A line is a kind, a tab, a text. The kind says how the post is to be answered (`KINDS`), or the line
does, behind it: "rating=complaint". In files named twins*, lines stand in pairs: alike in words,
different in answer.
"""

import random
import re
from dataclasses import dataclass
from pathlib import Path

import names

FOLDER = Path(__file__).parent / "own"
# The sentiment of a post, and whether its writer is unhappy with what was delivered to them.
ANSWERS = {
    "complaint": ("negative", 1),
    "praise": ("positive", 0),
    "plain": ("neutral", 0),
    "sad": ("negative", 0),  # about the weather, a match, an illness: nobody delivered it
}
KINDS = {
    **dict.fromkeys(
        "waiting missing broken charged churn sarcasm wrong staff".split(), "complaint"
    ),
    "praise": "praise",
    "sad": "sad",
    **dict.fromkeys("question neutral narrative advert job news others identity".split(), "plain"),
}
# How many posts a line with slots becomes, and how often all of them together are drawn beside a
# line without any: an epoch draws some of them, the next one others.
COPIES, COPIES_MANY = 24, 120
DRAWN, DRAWN_MANY = 4.0, 12.0
# How often a post is drawn, by the first word of its file's name: one of a kind more often.
DRAWS = {"twins": 2.0, "kinds": 2.0}
MANY = re.compile("{(?:identity|good|bad|plain|first)}")
# Ends of the words that are coined for who somebody is: no list holds all of them.
ENDS = "ian ese ish ite ic ean ar al ed an less ling -born -haired -eyed -sexual plegic".split()

SLOTS = {
    "brand": "Spotify Delta Amazon Ikea Vodafone Netflix Apple Tesco Ryanair DHL Uber Samsung "
    "Starbucks Walmart Comcast Lidl Hilton Acme Nordbank Zalora Bluefin Quickcart".split(),
    "item": "phone|laptop|kettle|tablet|coat|watch|bike|headset|router|lamp|sofa|camera|"
    "backpack|monitor|toaster|guitar".split("|"),
    "service": "internet|broadband|the wifi|hot water|mobile data|streaming|the landline".split(
        "|"
    ),
    "thing": "songs|photos|recipes|addresses|messages|notes".split("|"),
    "place": "Leeds|Denver|Dublin|Austin|Porto|Boston|Oslo|Perth|Chicago|Glasgow|Lyon".split("|"),
    "long": "25 minutes|47 minutes|an hour|two hours|1h20|90 mins|over an hour|35 min".split("|"),
    "weeks": "two weeks|3 weeks|a month|6 weeks|nine days|5 weeks|10 days".split("|"),
    "years": "six years|12 years|ten years|20 yrs|4 years".split("|"),
    "past": "on monday|last week|last Tuesday|yesterday|in april|three weeks ago|Friday".split("|"),
    "hour": "3pm|16:30|half past two|noon|7 pm|14:15".split("|"),
    "month": "May|june|September|october|February".split("|"),
    "money": "£40|$12.99|€75|$250|30 euros|19.90|$8|£120".split("|"),
    "nth": "second|third|4th|fifth".split("|"),
    # None of the behaviour suite's (behaviours/lexicon.toml).
    "identity": "gay|straight|bisexual|trans|nonbinary|Black|white|Asian|Hispanic|Arab|"
    "mixed-race|Native American|Muslim|Christian|Jewish|Hindu|Buddhist|"
    "Catholic|Protestant|atheist|British|American|Chinese|Indian|Mexican|"
    "Nigerian|Russian|Polish|Pakistani|German|Turkish|Syrian|French|Irish|"
    "Italian|Iranian|Japanese|Korean|Somali|Jamaican|Brazilian|Greek|deaf|"
    "blind|disabled|autistic|diabetic|elderly|young|old|thirty year old|"
    "pregnant|tall|fat|thin|red-haired|immigrant|refugee|rich|poor|homeless|"
    "divorced|vegan|epileptic|dyspraxic|asthmatic|visually impaired|"
    "hearing-impaired|bipolar|bearded|pale|scarred|curvy|sixty year old|"
    "middle-class|white-collar|jobless|wealthy|native-born|asylum-seeking|"
    "expat|gender-fluid|agender|homosexual|heterosexual|demisexual|Taoist|"
    "Orthodox|Pentecostal|Kurdish|Samoan|Chilean|Ghanaian|Vietnamese|Finnish|"
    "Saudi|quadriplegic|hemiplegic|amputee|colour-blind|short-sighted|"
    "one-legged|left-handed|dyscalculic|hyperactive|schizophrenic|depressed|"
    "anorexic|arthritic|anaemic|haemophiliac|coeliac|lame|mute|stammering|"
    "wheelchair-using|neurodivergent|mentally ill|chronically ill|"
    "partly deaf|hard-up|learning-disabled|bald|grey-haired|long-haired|"
    "wrinkled|one-eyed|moustached|spotty|ponytailed|pierced|dimpled|short|"
    "plump|skinny|muscular|gap-toothed|blue-eyed|dark-skinned|light-skinned|"
    "blonde|ginger|broad-shouldered|snub-nosed|retired|self-employed|"
    "out-of-work|well-off|low-income|uneducated|illiterate|rural|"
    "underprivileged|aristocratic|bourgeois|low-paid|salaried|indebted|"
    "council-house|teen|adult|twenty-something|eighty year old|"
    "seven year old|school-age|newborn|ageing|grown-up|youthful|foreign|"
    "exiled|undocumented|displaced|nomadic|second-generation|naturalised|"
    "stay-at-home|itinerant|overseas|Methodist|Anglican|Lutheran|"
    "Presbyterian|Amish|Shia|Sunni|Sufi|Zoroastrian|Shinto|Bahai|secular|"
    "religious|devout|Evangelical|Unitarian|Rastafarian|pagan|godless|male|"
    "female|masculine|feminine|androgynous|bigender|two-spirit|transsexual|"
    "genderless|unmarried|married|widowed|LGBT|aromantic|homoromantic|"
    "bi-curious|same-sex-attracted|monogamous|polyamorous|celibate|Afghan|"
    "Albanian|Algerian|Argentine|Australian|Austrian|Bangladeshi|Belgian|"
    "Bolivian|Bulgarian|Cambodian|Canadian|Colombian|Congolese|Croatian|"
    "Cuban|Czech|Dutch|Ecuadorian|Egyptian|Eritrean|Estonian|Ethiopian|"
    "Georgian|Haitian|Hungarian|Icelandic|Indonesian|Israeli|Jordanian|"
    "Kazakh|Lebanese|Libyan|Lithuanian|Malaysian|Moroccan|Nepali|New Zealand|"
    "Palestinian|Portuguese|Romanian|Rwandan|Scottish|Senegalese|Serbian|"
    "Singaporean|Slovak|Spanish|Sri Lankan|Sudanese|Swedish|Swiss|Taiwanese|"
    "Tanzanian|Thai|Tunisian|Ugandan|Ukrainian|Uruguayan|Venezuelan|Welsh|"
    "Yemeni|Zambian|Zimbabwean|Caribbean|Polynesian|Creole|Cherokee|Navajo|"
    "Aboriginal|Punjabi|Tamil|Bengali|Zulu|Yoruba|Igbo|Amazigh|Slavic|Nordic|"
    "Melanesian|Pashtun|Uyghur|Tibetan|Basque|Catalan|Breton|multiracial|"
    "brown|African|Afro-Caribbean|Middle Eastern|Chicana|Cajun|Roma|Sami|"
    "Hawaiian|Tongan".split("|"),
    "good": "great|lovely|excellent|brilliant|good|nice|wonderful|amazing|perfect|"
    "clean|quick|comfy|tasty|fun|reliable|helpful|fantastic|awesome|"
    "incredible|beautiful|exciting|sweet|outstanding|fabulous|cheerful|"
    "pleasant|gorgeous|friendly|terrific|smooth|cosy|exceptional|impressive|"
    "enjoyable|extraordinary|adorable|happy".split("|"),
    "bad": "awful|terrible|horrible|bad|rubbish|poor|dreadful|nasty|dirty|slow|"
    "useless|boring|disappointing|rude|noisy|appalling|frustrating|annoying|"
    "weird|creepy|unpleasant|ridiculous|atrocious|pathetic|miserable|sad|"
    "hard|difficult|rough|stupid|disgusting|tedious|abysmal|average|unhappy|"
    "chaotic".split("|"),
    "plain": "blue|public|private|electric|plastic|annual|spare|second|local|daily|"
    "round|big|Italian|online|paper|standard|international|American|national|"
    "foreign|Australian|Indian|British|Israeli|German|square|heavy|grey|"
    "yellow|quarterly|medical|military|urban|rural|digital|portable|manual|"
    "steel|glass|medium|northern|historic|academic|weekly|temporary|"
    "rectangular|Swedish|green".split("|"),
    "part": "staff|crew|food|service|room|app|delivery|price|driver|hotel|flight|"
    "company|film|queue|checkout|menu|website|screen|sound|battery|picture|"
    "course|gym|breakfast|coffee|waiter|pilot|plane|airline|customer service|"
    "support team|update|game|show|concert|train|taxi|garage|bank|store|"
    "manager|view|bed|music|engine|pizza|tour".split("|"),
    "first": "Anna|James|Maria|Ahmed|Fatima|John|Wei|Carlos|Priya|Sarah|Mohammed|Emma|"
    "Ivan|Chloe|Jamal|Yuki|Lucas|Aisha|Tom|Olga|David|Mei|Pedro|Grace|Ali|"
    "Nadia|Ben|Sofia|Luca|Kofi|Ingmar|Deepak|Lakisha|Brad|Emily|Hassan|Rosa|"
    "Liam|Zanele|Katya|Jorge|Hannah".split("|"),
    "job": "teacher|nurse|plumber|barber|lawyer|driver|baker|dentist|painter|"
    "student|doctor|waiter|writer|singer|farmer|cook|guard|builder|tailor|"
    "pilot|engineer|clerk|man|woman|guy|girl|boy|person|neighbour|couple|"
    "family|actor|dancer|priest|soldier|gardener|accountant|cleaner|chef|"
    "judge|model|coach|mother|father|kid".split("|"),
    "love": "love|like|enjoy|recommend|appreciate|value".split("|"),
    "loved": "loved|liked|appreciated|recommended|valued".split("|"),
    "hate": "hate|dislike|regret|dread|can't stand".split("|"),
    "hated": "hated|disliked|dreaded|regretted".split("|"),
    "n": "2|three|4|five|7|3".split("|"),
    "big": "57|112|84|403|230".split("|"),
}


@dataclass(frozen=True)
class Post:
    """One made-up post."""

    text: str
    label: str
    discontent: int
    kind: str
    pair: str = ""
    draws: float = 1.0  # how often it is drawn beside others


def posts(part: str) -> list[Post]:
    """The posts of `part` ("train" or "validation"), the same at every call."""
    rng = random.Random(part)
    out = {}
    for file in sorted((FOLDER / part).glob("*.txt")):
        group = re.split("[_-]", file.stem)[0]
        lines = file.read_text(encoding="utf-8").splitlines()
        lines = [line for line in lines if not line.startswith("#")]
        for number, line in enumerate(lines):
            said, template = line.split("\t")
            kind, _, answer = said.partition("=")
            label, discontent = ANSWERS[answer or KINDS[kind]]
            pair = f"{file.stem}/{number // 2}" if group == "twins" else ""
            many, slots = MANY.search(template), "{" in template
            copies = COPIES_MANY if many else COPIES if slots else 1
            draws = DRAWN_MANY if many else DRAWN if slots else DRAWS.get(group, 1.0)
            for _ in range(copies):
                text = filled(template, rng)
                text = article(text) if many else text
                text = text if part == "validation" else _spelt(text, rng)
                out[text] = Post(text, label, discontent, kind, pair, draws / copies)
    return list(out.values())


def filled(template: str, rng: random.Random, kept: str = "") -> str:
    """`template` with words in its slots, but for the slot `kept`."""

    def word(slot: re.Match) -> str:
        return slot[0] if slot[1] == kept else _word(slot[1], rng)

    return re.sub(r"\{(\w+)\}", word, template)


def article(text: str) -> str:
    """`text` with "an" for "a" before a vowel that is heard, as filled slots ask for it."""
    before_vowel = r"\b([Aa]) (?=[aeiou])(?!one-|unit|ukr|uyg|ugan|urug|euro)"
    return re.sub(before_vowel, r"\1n ", text, flags=re.I)


def _word(slot, rng):
    if slot == "identity" and rng.random() < 0.2:
        return "".join(rng.choices(names.STARTS, k=2)) + rng.choice(ENDS)
    return rng.choice(SLOTS[slot])


def _spelt(text, rng):
    """As people type: without capitals or the full stop, with a mention in front."""
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.2:
        text = text.rstrip(".")
    if rng.random() < 0.2 and "@user" not in text:
        text = f"@user {text}"
    return text
