"""Pauses between attempts: doubling up to a limit, with jitter, so that clients that lost the same
server do not all come back at once.
"""

import random

FIRST = 0.05
LONGEST = 2.0


class Backoff:
    """How long to wait before the next attempt, in seconds."""

    def __init__(self) -> None:
        self._base = FIRST

    def reset(self) -> None:
        """The last attempt succeeded: the next pause is short again."""
        self._base = FIRST

    def pause(self) -> float:
        """The next pause: between one and two times its base."""
        base, self._base = self._base, min(self._base * 2, LONGEST)
        return base * random.uniform(1, 2)


class Opening:
    """How long a server may take to answer when a stream is opened, in seconds: first a second, so
    that one of a fleet that is gone costs little, then twice as long, up to a limit.
    """

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._next = min(1.0, longest)

    def reset(self) -> None:
        """A stream was opened."""
        self._next = min(1.0, self._longest)

    def seconds(self) -> float:
        """Of the next attempt."""
        seconds, self._next = self._next, min(self._next * 2, self._longest)
        return seconds
