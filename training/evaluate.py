"""The model card's figures, measured on the shipped files.

`python evaluate.py --model DIR --data DIR` prints them as Markdown (and puts them into `--card`).
int8 scores come from model.onnx in onnxruntime, fp32 ones from model.safetensors in PyTorch. The
int8 figures and the speed of `--against`, another model's folder, stand beside them.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import behaviour
import data
import metrics
import robustness
from data import DISCONTENT, NEGATIVE, POSITIVE, UNKNOWN
from scoring import Fp32, Int8, Scorer

BEGIN, END = "<!-- figures: make model-eval -->", "<!-- end of figures -->"
MADE_UP = (data.OWN, data.HANDMADE)
BY_CHANCE = "of true probabilities, by chance"


@dataclass(frozen=True)
class Scored:
    """A scorer and what it says of the validation rows: `[rows, classes + 1]` probabilities."""

    scorer: Scorer
    scores: np.ndarray

    @property
    def chosen(self) -> np.ndarray:
        """The class of each row, by the model's weights."""
        return self.scorer.labels(self.scores)

    @property
    def discontent(self) -> np.ndarray:
        """P(discontent) of each row."""
        return self.scores[:, DISCONTENT]

    @property
    def flagged(self) -> np.ndarray:
        """Which rows the model's own lowest threshold flags."""
        return self.discontent >= self.scorer.severities["low"]


class Validation:
    """The validation rows as arrays: what was asked of which, and what is right."""

    def __init__(self, rows: list[data.Row]):
        self.rows = rows
        self.texts = [row.text for row in rows]
        self.sentiment, self.unhappy = np.array([row.answers for row in rows]).T
        self.source = np.array([row.source for row in rows])
        self.kind = np.array([row.kind for row in rows])
        # The half that calibration was not fitted on; made-up posts are in neither.
        self.half = np.array([r.source not in MADE_UP and not data.calibrates(r) for r in rows])
        self.care = np.isin(self.source, data.CARE_SETS)

    def twins(self) -> dict[str, np.ndarray]:
        """By source, `[pairs, 2]` rows: a complaint, and its twin that is none."""
        groups: dict[tuple[str, str], list[int]] = {}
        for i, row in enumerate(self.rows):
            if row.pair:
                groups.setdefault((row.source, row.pair), []).append(i)
        out: dict[str, list[list[int]]] = {}
        for (source, _), group in groups.items():
            group.sort(key=lambda i: -self.unhappy[i])
            if [self.unhappy[i] for i in group] == [1, 0]:
                out.setdefault(source, []).append(group)
        return {source: np.array(pairs) for source, pairs in out.items()}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--against", type=Path, help="a folder to set beside it")
    parser.add_argument("--card", type=Path, help="a Markdown file whose figures to replace")
    options = parser.parse_args()
    torch.set_num_threads(1)
    _, rows = data.load(options.data)
    figures = report(rows, options.model, options.against)
    print(figures)
    if options.card:
        before, rest = options.card.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        options.card.write_text(f"{before}{BEGIN}\n{figures}\n{END}{after}", encoding="utf-8")


def report(rows: list[data.Row], folder: Path, against: Path | None = None) -> str:
    """All tables of the card, for the validation `rows`."""
    true = Validation(rows)

    def scored(scorer):
        return Scored(scorer, scorer(true.texts))

    int8, fp32 = scored(Scorer(folder, Int8(folder))), scored(Scorer(folder, Fp32(folder)))
    other = against and scored(Scorer(against, Int8(against)))
    beside = against and f"{title(against)}, int8"
    models = {"int8": int8, "fp32": fp32} | ({beside: other} if other else {})
    tables = [
        sentiment(true, models),
        discontent(true, models),
        made_up(true, models),
        thresholds(true, int8),
        flips(true, int8),
        behaviours({"int8": int8} | ({beside: other} if other else {})),
        wrong(true, int8),
        agreement(int8, fp32),
        speed(true, int8.scorer, other and other.scorer),
    ]
    return "\n\n".join(tables)


def title(folder: Path) -> str:
    """What a folder's model is called in a table's head."""
    said = json.loads((folder / "config.json").read_text())["pounce"]
    return f"revision {said['revision']}"


def sentiment(true: Validation, models: dict[str, Scored]) -> str:
    """Macro recall of each set whose annotators were asked for the sentiment, and calibration."""
    asked = true.sentiment != UNKNOWN

    def recall(m, part):
        return metrics.macro_recall(m.chosen[part], true.sentiment[part])

    def plain_recall(m, part):
        classes = m.scores[part, :DISCONTENT]
        return metrics.macro_recall(classes.argmax(-1), true.sentiment[part])

    def poles(m, part):
        called = m.scores[part, NEGATIVE] < m.scores[part, POSITIVE]
        return (called == (true.sentiment[part] == POSITIVE)).mean()

    def misjudged(m, part):
        return metrics.calibration_error(m.scores[part, :DISCONTENT], true.sentiment[part])

    def by_chance(m, part):
        return metrics.chance_error(m.scores[part, :DISCONTENT].max(-1))

    lines = []
    for source in dict.fromkeys(true.source[asked]):
        part = asked & (true.source == source)
        if data.NEUTRAL in true.sentiment[part]:
            lines.append(_line(source, part, "macro recall", recall, models))
        else:
            lines.append(_line(source, part, "accuracy, two poles", poles, models))
    semeval = true.source == "semeval_val"
    plain = "macro recall by the most probable class, without weights"
    lines.append(_line("semeval_val", semeval, plain, plain_recall, models))
    for name, part in {"semeval_val": semeval, "all": asked}.items():
        half = part & true.half
        lines.append(_line(f"{name}, half", half, "ECE, top label", misjudged, models))
        lines.append(
            _line(f"{name}, half", half, f"ECE, top label, {BY_CHANCE}", by_chance, models)
        )
    return table(["sentiment", "rows", "measure", *models], lines)


def discontent(true: Validation, models: dict[str, Scored]) -> str:
    """Average precision of each set whose annotators were asked for complaints, and calibration."""

    def precision(m, part):
        return metrics.average_precision(m.discontent[part], true.unhappy[part] == 1)

    def found(m, part):
        return metrics.recall_at_precision(m.discontent[part], true.unhappy[part] == 1, 0.8)

    def misjudged(m, part):
        return metrics.binned_error(m.discontent[part], true.unhappy[part] == 1)

    def by_chance(m, part):
        return metrics.chance_error(m.discontent[part])

    care = true.care
    lines = [
        _line(source, true.source == source, "average precision of complaints", precision, models)
        for source in dict.fromkeys(true.source[care])
    ]
    lines += [
        _line("all care sets", care, "average precision of complaints", precision, models),
        _line("all care sets", care, "recall of complaints at precision 0.8", found, models),
        _line("all care sets, half", care & true.half, "ECE", misjudged, models),
        _line("all care sets, half", care & true.half, f"ECE, {BY_CHANCE}", by_chance, models),
        _line("all care sets", care, "ECE, both halves", misjudged, models),
        _line("all care sets", care, f"ECE, both halves, {BY_CHANCE}", by_chance, models),
    ]
    return table(["discontent", "rows", "measure", *models], lines)


def made_up(true: Validation, models: dict[str, Scored]) -> str:
    """The made-up posts by kind: the right class, and what the lowest threshold flags; twins."""
    twins = true.twins()
    lines = []
    for source in MADE_UP:
        of_source = true.source == source
        for kind in dict.fromkeys(true.kind[of_source]):
            part = of_source & (true.kind == kind)
            right = [_percent((m.chosen == true.sentiment)[part]) for m in models.values()]
            flagged = [_percent(m.flagged[part]) for m in models.values()]
            lines.append([source, kind, part.sum(), *right, *flagged])
        for name, answer in (("complaints", 1), ("no complaints", 0)):
            part = of_source & (true.unhappy == answer)
            right = [_percent((m.chosen == true.sentiment)[part]) for m in models.values()]
            flagged = [_percent(m.flagged[part]) for m in models.values()]
            lines.append([source, f"all {name}", part.sum(), *right, *flagged])
        if source in twins:
            pairs = twins[source]
            right = [_percent((m.chosen == true.sentiment)[pairs].all(-1)) for m in models.values()]
            told = [
                _percent((m.flagged == (true.unhappy == 1))[pairs].all(-1)) for m in models.values()
            ]
            lines.append([source, "twins, both right", len(pairs), *right, *told])
    head = ["made-up posts", "kind", "rows"]
    head += [f"{what}, {name}" for what in ("right class", "flagged") for name in models]
    return table(head, lines)


def thresholds(true: Validation, model: Scored) -> str:
    """What the model's thresholds of discontent mean: precision and recall of complaints in the
    care sets, in the half that calibration was not fitted on."""
    part = true.care & true.half
    unhappy, scores = true.unhappy[part] == 1, model.discontent[part]
    lines = []
    for name, threshold in model.scorer.severities.items():
        flagged = scores >= threshold
        right = _percent(unhappy[flagged]) if flagged.any() else "-"
        lines.append(
            [name, f"{threshold:.2f}", _percent(flagged), right, _percent(flagged[unhappy])]
        )
    head = [
        "severity",
        "P(discontent) at least",
        "posts flagged",
        "of them complaints",
        "of the complaints",
    ]
    return table(head, lines)


def _line(name, part, measure, figure, models):
    return [name, part.sum(), measure, *(f"{100 * figure(m, part):.1f}" for m in models.values())]


def flips(true: Validation, model: Scored) -> str:
    """How many answers a change that means nothing changes."""
    lines = []
    for name in robustness.CHANGES:
        pairs = robustness.changed(true.texts, name)
        if pairs:
            after = Scored(model.scorer, model.scorer([text for _, text in pairs]))
            index = [i for i, _ in pairs]
            classes = _percent(after.chosen != model.chosen[index])
            flags = _percent(after.flagged != model.flagged[index])
            lines.append([name, len(pairs), classes, flags])
    return table(["change", "posts changed", "classes flipped", "flags flipped"], lines)


def behaviours(models: dict[str, Scored]) -> str:
    """The suite of behaviours: how many of its sets get a wrong class and a wrong flag."""

    def answers(model):
        def of(texts):
            said = Scored(model.scorer, model.scorer(texts))
            return said.chosen, said.flagged

        return of

    head = ["behaviour", "test", "sets"]
    head += [f"wrong {what} %, {name}" for name in models for what in ("class", "flag")]
    return table(head, behaviour.report([answers(model) for model in models.values()]))


def wrong(true: Validation, model: Scored, most: int = 10) -> str:
    """The project's own posts with a wrong class or flag, `most` of each kind of fault. Posts of
    other sets are nobody's to print."""
    own = true.source == data.OWN
    faults = {
        f"{said}, called {called}": own & (true.sentiment == i) & (model.chosen == j)
        for i, said in enumerate(data.LABELS)
        for j, called in enumerate(data.LABELS)
        if i != j
    } | {
        "discontent, not flagged": own & (true.unhappy == 1) & ~model.flagged,
        "not discontent, flagged": own & (true.unhappy == 0) & model.flagged,
    }
    lines = []
    for fault, part in faults.items():
        found = sorted(part.nonzero()[0], key=lambda i: data.share(true.texts[i], "wrong"))
        for i in found[:most]:
            text = true.texts[i].replace("|", "/")
            lines.append([f"{fault} ({part.sum()})", true.kind[i], text])
    return table(["fault (posts)", "kind", "made-up post"], lines)


def agreement(int8: Scored, fp32: Scored) -> str:
    """int8 against fp32."""
    same = (int8.chosen == fp32.chosen).mean()
    flagged = (int8.flagged == fp32.flagged).mean()
    gap = np.abs(int8.scores - fp32.scores).max(-1)
    middle, high = np.percentile(gap, [50, 99])
    lines = [
        ["same label", f"{100 * same:.2f} % of {len(gap)}"],
        ["same flag", f"{100 * flagged:.2f} %"],
        ["difference of a probability, median / 99th percentile", f"{middle:.4f} / {high:.4f}"],
    ]
    return table(["int8 against fp32", ""], lines)


def speed(true: Validation, scorer: Scorer, against: Scorer | None, seconds: float = 15.0) -> str:
    """Posts a second of processor time, one thread, batches of 8, tokenising included; of `against`
    in turns with it."""
    texts = np.array(true.texts)[true.source == "semeval_val"][:500].tolist()
    scorers = [scorer] if against is None else [scorer, against]
    rates = [[] for _ in scorers]
    started = time.monotonic()
    while time.monotonic() - started < seconds or len(rates[0]) < 4:
        for one, of_one in zip(scorers, rates):
            before = time.process_time()
            one(texts)
            of_one.append(len(texts) / (time.process_time() - before))
    own, *others = (np.median(of_one[1:]) for of_one in rates)  # the first warms up
    line = f"onnxruntime, int8, one thread, batches of 8: {own:.0f} posts/s of a core"
    return line + "".join(f"; the other {other:.0f}, {own / other:.2f} times" for other in others)


def table(head: list, lines: list[list]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _percent(share) -> str:
    """The mean of an array of booleans."""
    return f"{100 * np.mean(share):.1f} %"


if __name__ == "__main__":
    main()
