"""Draws the dashboard over hours within minutes: docs/dashboard.png.

A real server gets the posts of some hours, dated as they would come, in a few minutes. What its /metrics
shows meanwhile is kept under the time of the posts, and a real Prometheus answers the queries of the panels from
that. So rates, shares and alerts are those of hours; latencies and queues are those of the faster run.

    k8s/check --hours 6 --pounce target/release/pounce --picture docs/dashboard.png
"""

import argparse
import json
import math
import random
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import expressions
import live_server
from live_check import Prometheus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCRAPE_SECONDS = 15
STEP_SECONDS = 60
# Instead of the quarter of a minute that is enough for a scrape a second.
RATE_WINDOW = "5m"
POSTS_PER_SECOND = 0.5
# Parts of the run in which the crowd of one topic is unhappy: once for a while, once until the end.
TURNED = ((0.4, 0.55), (0.9, 1.1))
# Nobody here has an audience, or REACH would fire all the time.
FOLLOWERS = 100

STATS = ["Alerts firing", "Not acknowledged", "Overdue", "99th percentile of a post", "Replicas"]
TABLE = "Topics"
CHARTS = [
    "Discontent about $topic",
    "Topic alerts firing",
    "Discontent posts a minute",
    "Flagged posts a minute",
    "Posts a second by result",
    "Sentiment",
    "Time of a post, end to end",
    "Time of a post by stage",
    "Topic alerts opened an hour",
]


class Clock:
    """The time of the posts, which runs faster than the wall clock and is the present at the end."""

    def __init__(self, hours: float, seconds: float) -> None:
        self.began, self.seconds = time.monotonic(), seconds
        self.speed = hours * 3600 / seconds
        self.start = time.time() + seconds - hours * 3600

    def part(self) -> float:
        """How much of the run is over, 0 to 1."""
        return min((time.monotonic() - self.began) / self.seconds, 1)

    def now(self) -> float:
        """The time of the posts, in seconds since 1970."""
        return self.start + self.part() * self.seconds * self.speed


class HoursServer(live_server.LoadedServer):
    """A server that is fed the posts of hours."""

    hours = 1.0

    @cached_property
    def clock(self) -> Clock:
        """Begins with the first post."""
        return Clock(self.hours, self.seconds)

    def publish(self, nats_port: int) -> None:
        """Nothing: beside posts of the present, those of the hours before would be late."""

    def feed(self, address: str, number: int) -> None:
        """One stream: its share of the posts, each dated as it comes."""
        client = subprocess.Popen(
            [self.binary, "score", "--addr", address, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"client-{number}.log").open("w"),
            text=True,
        )
        chance, sent = random.Random(number), 0
        while not self.stop.is_set():
            due = (self.clock.now() - self.clock.start) * POSTS_PER_SECOND / live_server.STREAMS
            while sent < due:
                part = self.clock.part()
                turned = any(begins < part < ends for begins, ends in TURNED)
                post = live_server.post(chance, f"{number}-{sent}", turned)
                client.stdin.write(json.dumps(post | {"posted_at": self.clock.now(), "followers": FOLLOWERS}) + "\n")
                sent += 1
            client.stdin.flush()
            self.stop.wait(0.05)
        client.stdin.close()
        client.wait(timeout=60)


def scrape(server: HoursServer, samples: list[str], over: threading.Event) -> None:
    """Keeps what /metrics shows, with the time of the posts, as OpenMetrics."""
    labels = f'instance="{server.http}",job="pounce"'
    while not over.is_set():
        began = time.monotonic()
        at = f"{server.clock.now():.3f}"
        with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if not line.startswith("#") and line:
                series, value = line.rsplit(" ", 1)
                name, brace, rest = series.partition("{")
                if name == "process_start_time_seconds":
                    value = str(server.clock.start)
                samples.append(f"{name}{{{labels}{',' + rest if brace else '}'} {value} {at}")
        samples.append(f"up{{{labels}}} 1 {at}")
        over.wait(max(0, began + SCRAPE_SECONDS / server.clock.speed - time.monotonic()))


def unrecorded(expression: str) -> str:
    """An expression with the rules of the last 15 minutes in place of their series: nothing recorded them."""
    rules = {
        rule["record"]: rule["expr"]
        for rule in expressions.rules()
        if "record" in rule and rule.get("labels", {}).get("window", "15m") == "15m"
    }
    pattern = re.compile(r"(namespace(?:_topic)?:[a-z0-9_]+:[a-z0-9_]+)(\{[^}]*\})?")
    while pattern.search(expression):
        expression = pattern.sub(lambda name: f"({rules[name[1]]})", expression)
    return expression.replace("[15s]", f"[{RATE_WINDOW}]")


def queries(title: str) -> list[expressions.Expression]:
    """What a panel asks."""
    return [query for query in expressions.of_dashboard() if query.where == title]


def written(value: float, unit: str) -> str:
    """A number in a panel's unit."""
    if unit == "percentunit":
        return f"{value * 100:g} %"
    if unit == "s":
        return f"{value * 1000:g} ms" if value < 1 else f"{value:g} s"
    return f"{value:g}"


def begins(moments: list[datetime]) -> list[datetime]:
    """The first of each run of moments."""
    gap = timedelta(seconds=2 * STEP_SECONDS)
    return [at for before, at in zip([datetime.min.replace(tzinfo=UTC), *moments], moments, strict=False) if at - before > gap]


def moments(points: list) -> list[datetime]:
    """The times of a series."""
    return [datetime.fromtimestamp(float(at), UTC) for at, _ in points]


def draw_chart(
    axis: "Axes",
    prometheus: Prometheus,
    panel: dict,
    start: float,
    end: float,
    step: float = STEP_SECONDS,
    topic: str | None = None,
) -> None:
    """Draws what a panel asks, from start to end; of one topic, if it is given."""
    import matplotlib.dates as dates
    from matplotlib.ticker import FuncFormatter

    title, unit = panel["title"], panel["fieldConfig"]["defaults"]["unit"]
    for query in queries(title):
        for series in prometheus.ask("query_range", query=unrecorded(query.text), start=start, end=end, step=step):
            points = [point for point in series["values"] if math.isfinite(float(point[1]))]
            if (topic and series["metric"].get("topic") != topic) or not any(float(value) for _, value in points):
                continue
            legend = re.sub(r"\{\{(\w+)\}\}", lambda name, of=series["metric"]: of.get(name[1], ""), query.legend)
            axis.plot(moments(points), [float(value) for _, value in points], label=legend.strip(), linewidth=1.4)
    axis.set_title(title.replace("$topic", topic or ""), fontsize=11, loc="left")
    axis.xaxis.set_major_formatter(dates.DateFormatter("%H:%M" if step >= STEP_SECONDS else "%H:%M:%S", UTC))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(round(value, 6), unit)))
    axis.set_xlim(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))
    axis.set_ylim(0, max([1e-9, *(max(line.get_ydata()) for line in axis.lines)]) * 1.35)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", ncols=2)


def draw(prometheus: Prometheus, file: Path, start: float, end: float) -> None:
    """Draws stats and the table as of the end, and graphs from start to end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    made = json.loads(expressions.DASHBOARD.read_text())
    panels = {panel["title"]: panel for panel in expressions.panels(made)}
    figure = plt.figure(figsize=(16, 15), constrained_layout=True)
    grid = figure.add_gridspec(5, 15, height_ratios=[0.45, 0.7, 1.5, 1.5, 1.5])

    def unit(title: str) -> str:
        return panels[title]["fieldConfig"]["defaults"]["unit"]

    for place, title in enumerate(STATS):
        axis = figure.add_subplot(grid[0, 3 * place : 3 * place + 3])
        found = prometheus.ask("query", query=unrecorded(queries(title)[0].text), time=end)
        value = float(found[0]["value"][1]) if found else math.nan
        steps = panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        red = any(step["value"] is not None and value >= step["value"] for step in steps if step["color"] == "red")
        axis.text(0.5, 0.4, written(round(value, 3), unit(title)), ha="center", va="center", fontsize=28, color="#b3261e" if red else "#17693b")
        axis.set_title(title, fontsize=11, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])

    axis = figure.add_subplot(grid[1, :])
    axis.set_title(f"{TABLE}, last 15 minutes", fontsize=11, loc="left")
    axis.axis("off")
    columns = [
        {series["metric"]["topic"]: float(series["value"][1]) for series in prometheus.ask("query", query=unrecorded(query.text), time=end)}
        for query in queries(TABLE)
    ]
    rows = sorted((topic for topic in columns[0] if columns[0][topic]), key=lambda topic: -columns[-1].get(topic, 0))
    shown = [
        [topic, f"{columns[0][topic]:.0f}", *(f"{100 * column.get(topic, 0):.1f} %" for column in columns[1:4]), f"{columns[4].get(topic, 0):.2f}"]
        for topic in rows
    ]
    head = ["Topic", "Posts", "Share", "Lower bound", "Threshold", "Bound over threshold"]
    table = axis.table(cellText=shown, colLabels=head, loc="upper left", cellLoc="left", colLoc="left", edges="horizontal")
    table.auto_set_font_size(False)
    table.set_fontsize(11)
    table.scale(1, 1.6)

    opened = [
        moment
        for query in queries("Topic alerts opened")
        for series in prometheus.ask("query_range", query=unrecorded(query.text), start=start, end=end, step=STEP_SECONDS)
        for moment in begins(moments(series["values"]))
    ]
    for place, title in enumerate(CHARTS):
        axis = figure.add_subplot(grid[2 + place // 3, 5 * (place % 3) : 5 * (place % 3) + 5])
        topic = live_server.TURNING if panels[title].get("repeat") else None
        draw_chart(axis, prometheus, panels[title], start, end, topic=topic)
        for moment in opened:
            axis.axvline(moment, color="#9a4d00", linewidth=0.8, linestyle="--")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=75)
    print(f"drawn {file}: {datetime.fromtimestamp(start, UTC):%H:%M} to {datetime.fromtimestamp(end, UTC):%H:%M} UTC")


def main() -> None:
    """Runs the server, keeps its metrics, draws."""
    words = argparse.ArgumentParser(prog="k8s/check --hours", description=__doc__.splitlines()[0])
    words.add_argument("hours", type=float, metavar="HOURS", help="how long a time the posts are of")
    words.add_argument("--pounce", type=Path, required=True, metavar="BINARY", help="the server")
    words.add_argument("--model", type=Path, default=Path("model"), metavar="DIR", help="its model (default model)")
    words.add_argument("--seconds", type=int, default=480, help="how long it takes (default 480)")
    words.add_argument("--picture", type=Path, required=True, metavar="FILE", help="the PNG")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        samples: list[str] = []
        over = threading.Event()
        server = HoursServer(given.pounce, given.model, given.seconds, folder)
        server.hours = given.hours
        with server:
            scraping = threading.Thread(target=scrape, args=(server, samples, over))
            scraping.start()
            time.sleep(given.seconds)
            over.set()
            scraping.join()
        text = folder / "samples"
        # A series' samples need not stand together.
        text.write_text("\n".join(samples) + "\n# EOF\n")
        (folder / "data").mkdir()
        made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", text, folder / "data"]
        subprocess.run(made, check=True)
        with Prometheus([], folder) as prometheus:
            draw(prometheus, given.picture, server.clock.start + 900, server.clock.now())


if __name__ == "__main__":
    main()
