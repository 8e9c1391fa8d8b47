"""What a post's text becomes before it is tokenised: social-v1, and social-v2 with five rules more.

The same rules stand in the service (Rust); `tests/data/normalisation.jsonl` and
`normalisation_v2.jsonl` hold both to them.
They are written for engines without look-around (Rust `regex`, RE2). Applied once, in this order:

1.  A literal `\\uXXXX` (4 hex digits, an accident of double-escaped JSON) becomes its character,
    unless it is 0000 or a surrogate (D800-DFFF), which stay as they are.
2.  HTML entities with a semicolon are decoded once: the names in `ENTITIES` (case-sensitive),
    `&#D;` (1-7 digits) and `&#xH;` (1-6 hex digits, x or X). A number that is 0, a surrogate or
    past 10FFFF, and any other name, stay as they are.
3.  NFKC: composed, and compatibility forms made plain (styled and full-width letters, U+2026 to
    three full stops, U+00A0 to a space).
4.  Curly quotes become straight: U+2018, 2019, 201B, 02BC to `'`; U+201C, 201D, 201E, 201F to `"`.
5.  Removed: ZWJ with a gender sign (U+200D then 2640 or 2642), then every character of
    `INVISIBLE` (zero-width, directional, soft hyphen, variation selectors, tags) and the emoji
    skin tones U+1F3FB-1F3FF.
6.  Control characters (U+0000-001F, 007F-009F) become a space.
7.  Every symbol of `EMOJI` gets a space on both sides, so that each is a word of its own.
8.  Links become `http` (`LINK`: a scheme in any case, `www.`, or a domain followed by `/`; word
    boundaries are ASCII's, in Rust `(?-u:\\b)`).
9.  E-mail addresses become `EMAIL`.
10. Mentions become `@user`.
11. Runs of 8 digits or more, as phone and order numbers are written, become `NUMBER`.
12. Runs of white space (Unicode White_Space) become one space; the ends are trimmed.

Case is kept (the tokeniser lowers it). The result may be empty.

social-v2 goes on with the result. That a post is addressed to somebody and ends in a link says
something of what it is; to how many, and by whose retweet, does not.

13. What a post is addressed with, "RT @user:" and mentions at the beginning (`FRONT`), becomes one
    mention.
14. Links at the end become one (`BACK`).
15. Quotes round the whole post are removed, where there are no others in it; then rule 13 again.
16. A run of mentions becomes one.
17. A full stop at the end is removed, if it is a single one.
"""

import re
import unicodedata

ENTITIES = {
    "amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": "\u00a0",
    "hellip": "\u2026", "ndash": "\u2013", "mdash": "\u2014", "lsquo": "\u2018",
    "rsquo": "\u2019", "ldquo": "\u201c", "rdquo": "\u201d", "bull": "\u2022",
    "middot": "\u00b7", "cent": "\u00a2", "pound": "\u00a3", "euro": "\u20ac",
    "yen": "\u00a5", "copy": "\u00a9", "reg": "\u00ae", "trade": "\u2122", "deg": "\u00b0",
    "times": "\u00d7", "frac12": "\u00bd", "hearts": "\u2665",
}  # fmt: skip

ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")
ENTITY = re.compile(r"&(?:([A-Za-z][A-Za-z0-9]{1,7})|#([0-9]{1,7})|#[xX]([0-9A-Fa-f]{1,6}));")
SINGLE_QUOTE = re.compile("[\u2018\u2019\u201b\u02bc]")
DOUBLE_QUOTE = re.compile("[\u201c\u201d\u201e\u201f]")
GENDER = re.compile("\u200d[\u2640\u2642]")
INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff"
    "\U0001f3fb-\U0001f3ff\U000e0000-\U000e007f]"
)
CONTROL = re.compile("[\u0000-\u001f\u007f-\u009f]")
EMOJI = re.compile("[\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
# The last character of a link: no space and no ASCII punctuation but `/` and `_`.
_END = r"[^\s!-.:-@\[-^`{-~]"
LINK = re.compile(
    rf"(?i:https?):(?:[^\s]*{_END})?"
    rf"|(?a:\b)(?i:www)\.[^\s]*{_END}"
    # Both cases are written out: "any case" of i is a dotted capital too in Python, not in Rust.
    rf"|(?a:\b)[A-Za-z0-9][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{{2,}}/(?:[^\s]*{_END})?"
)
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
MENTION = re.compile(r"@[A-Za-z0-9_]+")
NUMBER = re.compile(r"\+?\(?[0-9](?:[ ()-]{0,2}[0-9]){7,}")
SPACE = re.compile(r"\s+")
FRONT = re.compile(r"^(?:(?:RT )?[.]?@user[:,]? )+")
BACK = re.compile(r"(?: http[.]?)+$")
MENTIONS = re.compile(r"@user(?: @user)+")
QUOTED = re.compile(r'^"([^"]*[^" ][^"]*)"[.]?$')
FULL_STOP = re.compile(r"([^ .]) ?[.]$")


def normalise(text: str) -> str:
    """Returns the social-v1 form of `text`."""
    text = ESCAPE.sub(lambda m: _scalar(int(m[1], 16), m[0]), text)
    text = ENTITY.sub(_entity, text)
    text = unicodedata.normalize("NFKC", text)
    text = DOUBLE_QUOTE.sub('"', SINGLE_QUOTE.sub("'", text))
    text = INVISIBLE.sub("", GENDER.sub("", text))
    text = CONTROL.sub(" ", text)
    text = EMOJI.sub(lambda m: f" {m[0]} ", text)
    text = LINK.sub("http", text)
    text = EMAIL.sub("EMAIL", text)
    text = MENTION.sub("@user", text)
    text = NUMBER.sub("NUMBER", text)
    return SPACE.sub(" ", text).strip(" ")


def social_v2(text: str) -> str:
    """Returns the social-v2 form of `text`."""
    text = BACK.sub(" http", FRONT.sub("@user ", normalise(text)))
    text = FRONT.sub("@user ", QUOTED.sub(r"\1", text).strip(" "))
    return FULL_STOP.sub(r"\1", MENTIONS.sub("@user", text))


def tweet_eval(text: str) -> str:
    """Mentions and links alone, as the cards of the TweetEval benchmark's models do it."""
    words = ("@user" if word[:1] == "@" and word != "@" else word for word in text.split(" "))
    return " ".join("http" if word.startswith("http") else word for word in words)


# By their names in config.json.
SCHEMES = {"none": str, "social-v1": normalise, "social-v2": social_v2, "tweet-eval": tweet_eval}


def _entity(match: re.Match[str]) -> str:
    name, decimal, hexadecimal = match.groups()
    if name:
        return ENTITIES.get(name, match[0])
    return _scalar(int(decimal) if decimal else int(hexadecimal, 16), match[0])


def _scalar(code: int, otherwise: str) -> str:
    surrogate = 0xD800 <= code <= 0xDFFF
    if surrogate or code > 0x10FFFF or code == 0:
        return otherwise
    return chr(code)
