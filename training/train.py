"""Training: one loop for the teachers (labels) and the students (labels and the teachers' scores).

A post's loss is that of both answers, as far as they are known: cross-entropy of sentiment, binary
cross-entropy of discontent. bf16 autocast, AdamW, warm-up and linear decay; batches of posts of
like length, cut to a number of tokens. The state is saved every few minutes: a run that was
interrupted goes on where it was.
"""

import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

import augment
from data import DISCONTENT, OUTPUTS, UNKNOWN, Row, epoch

log = logging.getLogger("train")
CHECKPOINT_SECONDS = 120
UNSCORED = torch.full((len(OUTPUTS),), math.nan)


@dataclass(frozen=True)
class Plan:
    """One run. `distil` is the share of the loss that is the distance to the teacher's scores;
    `cooldown` (step, steps) ends the run early: from that step the rate falls to 0 in so many.
    `slips`, `renames` and `frames` are the shares of posts that augment.py changes. An epoch is
    `share` of what the sources say (`data.epoch`)."""

    name: str
    epochs: int
    rate: float
    seed: int
    batch: int = 48
    tokens_max: int = 72
    dropout: float = 0.1
    decay: float = 0.01
    class_weights: tuple[float, float, float] = (1.3, 0.9, 1.0)
    distil: float = 0.0
    cooldown: tuple[int, int] | None = None
    slips: float = 0.2
    renames: float = 0.2
    frames: float = 0.0
    share: float | None = 1.0


def rows_of(rows: list[Row], plan: Plan, number: int) -> list[Row]:
    """The rows that `plan` draws in its epoch of that number."""
    return epoch(rows, plan.seed * 1000 + number, plan.share)


def batches(rows, encode, size, seed):
    """Index lists of posts of like length, in random order."""
    rng = random.Random(seed)
    lengths = [len(ids) for ids in encode]
    out = []
    order = list(range(len(rows)))
    rng.shuffle(order)
    for start in range(0, len(order), size * 50):
        pool = sorted(order[start : start + size * 50], key=lambda i: lengths[i])
        out += [pool[i : i + size] for i in range(0, len(pool), size)]
    rng.shuffle(out)
    return out


def pad(encoded, pad_id=0):
    """`[batch, sequence]` ids and mask of lists of ids."""
    width = max(map(len, encoded))
    ids = torch.tensor([row + [pad_id] * (width - len(row)) for row in encoded])
    lengths = torch.tensor([len(row) for row in encoded])
    return ids, (torch.arange(width) < lengths[:, None]).long()


def loss_of(scores, answers, weights, plan, teacher=None):
    """The loss of `[batch, outputs]` logits: of the labels, `[batch, 2]` with `UNKNOWN` where
    nobody was asked, and the distance (KL) to the teacher's `[batch, outputs]` probabilities; an
    answer that it hasn't given is NaN."""
    logp, logit = F.log_softmax(scores[:, :DISCONTENT].float(), -1), scores[:, DISCONTENT].float()
    sentiment, discontent = answers.unbind(-1)
    index = sentiment.clamp(min=0)
    exact = -logp.gather(1, index[:, None])[:, 0] * torch.tensor(plan.class_weights)[index]
    unhappy = F.binary_cross_entropy_with_logits(
        logit, discontent.clamp(min=0).float(), reduction="none"
    )
    hard = exact * (sentiment != UNKNOWN) + unhappy * (discontent != UNKNOWN)
    hard = (hard * weights).mean()
    if teacher is None:
        return hard
    given, taught = ~teacher.isnan(), teacher.nan_to_num(0.5)
    apart = F.kl_div(logp, taught[:, :DISCONTENT], reduction="none").sum(-1)
    wanted = taught[:, DISCONTENT]
    unlike = F.binary_cross_entropy_with_logits(logit, wanted, reduction="none")
    unlike = unlike - F.binary_cross_entropy(wanted, wanted, reduction="none")  # less its entropy
    soft = (apart * given[:, 0] + unlike * given[:, DISCONTENT]).mean()
    return (1 - plan.distil) * hard + plan.distil * soft


def run(model, forward, tokenise, rows: list[Row], plan: Plan, folder: Path, teacher=None):
    """Trains `model` in place; `teacher` maps the texts that it knows to `[outputs]` probabilities.

    `forward(ids, mask, dropout)` gives logits; `tokenise(texts, tokens_max)` gives lists of ids.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state_file = folder / f"{plan.name}.pt"
    epochs = [rows_of(rows, plan, number) for number in range(plan.epochs)]
    steps_whole = sum(math.ceil(len(e) / plan.batch) for e in epochs)
    steps_total = min(steps_whole, sum(plan.cooldown)) if plan.cooldown else steps_whole
    optimiser = torch.optim.AdamW(_groups(model, plan), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: _slope(s, steps_whole, plan.cooldown)
    )
    done = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        if state["done"] >= steps_total:
            log.info("%s: done before", plan.name)
            return
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done = state["done"]
    model.train()
    step, started, saved, shown = 0, time.monotonic(), time.monotonic(), 0.0
    for number, rows_now in enumerate(epochs):
        rng = random.Random(plan.seed * 77 + number)
        shares = (plan.slips, plan.renames, plan.frames)
        texts = [augment.changed(r.text, rng, *shares) for r in rows_now]
        encoded = tokenise(texts, plan.tokens_max)
        for batch in batches(rows_now, encoded, plan.batch, plan.seed + number):
            step += 1
            if step <= done or step > steps_total:
                continue
            torch.manual_seed(plan.seed * 1_000_003 + step)
            ids, mask = pad([encoded[i] for i in batch])
            picked = [rows_now[i] for i in batch]
            answers = torch.tensor([r.answers for r in picked])
            weights = torch.tensor([r.weight for r in picked])
            soft = teacher and torch.stack([teacher.get(r.text, UNSCORED) for r in picked])
            with torch.autocast("cpu", torch.bfloat16):
                scores = forward(ids, mask, plan.dropout)
            loss = loss_of(scores, answers, weights, plan, soft)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            shown += (loss.item() - shown) * max(0.01, 1 / (step - done))
            now = time.monotonic()
            if step % 100 == 0 or step == steps_total:
                rate = (step - done) * plan.batch / (now - started)
                left = (steps_total - step) * plan.batch / rate / 60
                log.info("%s step %d/%d loss %.4f, %.0f posts/s, %.1f min left",
                         plan.name, step, steps_total, shown, rate, left)  # fmt: skip
            if now - saved > CHECKPOINT_SECONDS or step == steps_total:
                saved = now
                _save(state_file, model, optimiser, schedule, step)


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


def _slope(step, total, cooldown):
    warm = max(1, int(0.06 * total))
    slope = (step + 1) / warm if step < warm else max(0.0, (total - step) / (total - warm))
    if cooldown and step >= cooldown[0]:
        start, steps = cooldown
        slope = (total - start) / (total - warm) * max(0.0, 1 - (step - start) / steps)
    return slope


def _save(path, model, optimiser, schedule, done):
    aside = path.with_suffix(".part")
    torch.save(
        {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "done": done,
        },
        aside,
    )
    aside.rename(path)
