"""Made-up posts about four brands, without end, for `docker compose up`.

First six hours of posts at once, so that each brand has a baseline, then posts as time passes. One brand in
turn has a bad half hour every two hours. POUNCE_ADDR names the service.
"""

import itertools
import os
import random
import time
from collections.abc import Iterator

import pounce

BRANDS = {"Oxlip Grocers": ["Harbour Street", "Mill Road"], "Kite Telecom": [""], "Loom Shoes": [""], "Reed Bank": [""]}
POSTS_PER_MINUTE = 4
HISTORY_MINUTES = 360
USUAL, BAD = 0.12, 0.6
FIRST_BAD_MINUTE, BAD_MINUTES, EVERY_MINUTES = 10, 30, 120

COMPLAINTS = ["been on hold for an hour", "charged twice and nobody answers", "half my order is missing", "still down"]
OTHERS = ["works like a charm", "the staff went out of their way, thank you", "opens at nine on Sundays", "love the new one"]


def is_bad(brand: int, minute: float) -> bool:
    """Whether it is that brand's bad half hour, so many minutes after the start."""
    turn, within = divmod(minute - FIRST_BAD_MINUTE, EVERY_MINUTES)
    return turn >= 0 and within < BAD_MINUTES and turn % len(BRANDS) == brand


def posts(start: float, draw: random.Random) -> Iterator[pounce.Post]:
    """The posts of the past at once, then each when it is due."""
    step = 60 / POSTS_PER_MINUTE
    for n in itertools.count():
        at = start + n * step - HISTORY_MINUTES * 60
        time.sleep(max(0.0, at - time.time()))
        for brand, (topic, places) in enumerate(BRANDS.items()):
            angry = draw.random() < (BAD if is_bad(brand, (at - start) / 60) else USUAL)
            text = draw.choice(COMPLAINTS if angry else OTHERS)
            post = pounce.Post(id=f"{start:.0f}-{n}", text=f"{text} ({n})", topic=topic, place=draw.choice(places))
            post.author.id = f"{topic} {draw.randrange(100_000)}"
            post.author.followers = int(draw.paretovariate(1) * 50)
            post.posted_at.FromMilliseconds(int((at + brand) * 1000))
            yield post


def main() -> None:
    """Sends them; a restart of the service loses none."""
    with pounce.Client(os.environ.get("POUNCE_ADDR", "http://127.0.0.1:50051")) as client:
        for reply in client.score_stream(posts(time.time(), random.Random(7))):
            if isinstance(reply, pounce.Rejection):
                print(f"{reply.post_id} was rejected: {reply.field} {reply.reason}")


if __name__ == "__main__":
    main()
