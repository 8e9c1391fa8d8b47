"""Training: one loop for the teacher and the students.

Every post has wanted probabilities, of labels or of a teacher; the loss is the cross-entropy to
them (`heads.Heads.loss`). bf16 autocast unless `MIXED` is off, AdamW, a warm-up and a cosine;
batches of posts of like length. On a CPU the state is saved every few minutes: a run that was
interrupted goes on where it was.
"""

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

import augment
import data
from data import Row
from heads import Heads

log = logging.getLogger("train")
CHECKPOINT_SECONDS = 600
MIXED = True  # bf16 where it is safe; some processors compute fp32 faster
POOL = 50  # batches whose posts are sorted by length together


@dataclass(frozen=True)
class Plan:
    """One run. `draws` is how often an epoch draws a row of each source; `slips`, `renames` and
    `frames` are the shares of posts that augment.py changes. After `seconds` the run is over at the
    latest: the rate falls by whichever of steps and time is nearer to its end."""

    name: str
    epochs: int
    rate: float
    seed: int
    batch: int
    draws: dict[str, float] = field(default_factory=dict)
    tokens_max: int = 72
    dropout: float = 0.1
    decay: float = 0.01
    slips: float = 0.0
    renames: float = 0.0
    frames: float = 0.0
    seconds: float = math.inf

    def drawn(self, rows: list[Row], number: int) -> np.ndarray:
        """Indices of the rows of the epoch of that number."""
        return data.draw(rows, self.draws, (self.seed, number))


@dataclass(frozen=True)
class Encoded:
    """The posts of an epoch: of which row each is, and its `lengths` ids one after the other."""

    rows: np.ndarray
    ids: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, encoded: list[list[int]]) -> "Encoded":
        """Of lists of ids."""
        lengths = np.array([len(ids) for ids in encoded])
        return cls(rows, np.concatenate([np.array(ids, np.uint16) for ids in encoded]), lengths)

    def save(self, file: Path) -> None:
        """Writes it to `file`, whole or not at all."""
        aside = file.with_suffix(".part.npz")
        np.savez(aside, rows=self.rows, ids=self.ids, lengths=self.lengths)
        aside.rename(file)

    @classmethod
    def load(cls, file: Path) -> "Encoded":
        """Reads what `save` wrote."""
        with np.load(file) as parts:
            return cls(**parts)

    def batches(self, size: int, seed: int) -> list[np.ndarray]:
        """Index arrays of posts of like length, in random order."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.rows))
        out = []
        for start in range(0, len(order), size * POOL):
            pool = order[start : start + size * POOL]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            out += [pool[i : i + size] for i in range(0, len(pool), size)]
        return [out[i] for i in rng.permutation(len(out))]


class OnDevice:
    """The ids of many posts on a device: batches are put together there."""

    def __init__(self, encoded: Encoded, device: torch.device):
        self.ids = torch.from_numpy(encoded.ids.astype(np.int32)).to(device)
        self.lengths = torch.from_numpy(encoded.lengths.astype(np.int64)).to(device)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.widths = encoded.lengths

    def batch(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """`[batch, width]` ids (0 behind the end) and mask (1 = token) of the posts `index`."""
        width = int(self.widths[index].max())
        index = torch.from_numpy(index).to(self.ids.device)
        along = torch.arange(width, device=self.ids.device)
        mask = along < self.lengths[index][:, None]
        places = (self.starts[index][:, None] + along).clamp(max=len(self.ids) - 1)
        return (self.ids[places] * mask).long(), mask.long()


def encode(rows: list[Row], plan: Plan, number: int, tokenise) -> Encoded:
    """The posts of an epoch, changed by chance and tokenised."""
    drawn = plan.drawn(rows, number)
    rng = random.Random(plan.seed * 77 + number)
    shares = (plan.slips, plan.renames, plan.frames)
    texts = [augment.changed(rows[i].text, rng, *shares) for i in drawn]
    return Encoded.of(drawn, tokenise(texts, plan.tokens_max))


def run(
    network,
    heads: Heads,
    rows: list[Row],
    wanted: torch.Tensor,
    plan: Plan,
    folder: Path,
    encoded: Callable[[int], Encoded] | None = None,
) -> None:
    """Trains `network` (models.Network, mpnet.Network) in place, on the device where its weights
    are, to give each of `rows` its `wanted` probabilities, `[rows, outputs]`. `encoded` gives the
    posts of an epoch where they were encoded elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    state_file = folder / f"{plan.name}.pt"
    model, device = network.model, next(network.model.parameters()).device
    sizes = [len(plan.drawn(rows, number)) for number in range(plan.epochs)]
    total = sum(math.ceil(size / plan.batch) for size in sizes)
    optimiser = torch.optim.AdamW(_groups(model, plan), fused=True)
    done, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        if state["ended"]:
            log.info("%s: done before", plan.name)
            return
        optimiser.load_state_dict(state["optimiser"])
        done, spent = state["done"], state["spent"]
    model.train()
    wanted = wanted.to(device)
    step, started = 0, time.monotonic() - spent
    saved = time.monotonic()
    for number in range(plan.epochs):
        posts = encoded(number) if encoded else encode(rows, plan, number, network.tokenise)
        held, at = OnDevice(posts, device), torch.from_numpy(posts.rows).to(device)
        for batch in posts.batches(plan.batch, plan.seed + number):
            spent = time.monotonic() - started
            along = max(step / total, spent / plan.seconds)
            step += 1
            if step <= done:
                continue
            if along >= 1:
                break
            torch.manual_seed(plan.seed * 1_000_003 + step)
            for group in optimiser.param_groups:
                group["lr"] = plan.rate * slope(along, 1 / total)
            ids, mask = held.batch(batch)
            with torch.autocast(device.type, torch.bfloat16, enabled=MIXED):
                logits = network.forward(ids, mask, plan.dropout)
            loss = heads.loss(logits, wanted[at[torch.from_numpy(batch).to(device)]])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            if step % 100 == 0:
                rate = (step - done) * plan.batch / (time.monotonic() - started)
                log.info("%s epoch %d/%d step %d/%d loss %.4f, %.0f posts/s, %.0f %%",
                         plan.name, number + 1, plan.epochs, step, total, loss.item(), rate,
                         100 * along)  # fmt: skip
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                saved = time.monotonic()
                _save(state_file, model, optimiser, step, spent)
    log.info("%s: %d of %d steps in %.0f s", plan.name, step, total, time.monotonic() - started)
    _save(state_file, model, None, step, spent)


def slope(along: float, first: float = 0.0, warm: float = 0.06) -> float:
    """The rate's factor when `along` (0 to 1) of the run is over: a warm-up, then half a cosine."""
    if along < warm:
        return (along + first) / warm
    return 0.5 * (1 + math.cos(math.pi * (along - warm) / (1 - warm)))


def _groups(model, plan):
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            small = parameter.ndim < 2 or "embeddings" in name
            (plain if small else decayed).append(parameter)
    return [
        {"params": decayed, "lr": plan.rate, "weight_decay": plan.decay},
        {"params": plain, "lr": plan.rate, "weight_decay": 0.0},
    ]


def _save(path, model, optimiser, done, spent):
    aside = path.with_suffix(".part")
    state = {"model": model.state_dict(), "done": done, "spent": spent, "ended": not optimiser}
    torch.save(state | ({"optimiser": optimiser.state_dict()} if optimiser else {}), aside)
    aside.rename(path)
