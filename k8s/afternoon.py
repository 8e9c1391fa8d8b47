"""Draws the row of cases of the dashboard over a made-up afternoon: docs/cases-dashboard.png.

Three replicas on one log get posts, five agents claim and close the cases, and nobody works for a while in
between. A real Prometheus scrapes the replicas. What it shows must be what the agents did: each case claimed
once and closed, and the share in time that the cases themselves tell. Posts are dated back, so that the 15
minutes are over within seconds.

    k8s/check --afternoon --pounce target/release/pounce --picture docs/cases-dashboard.png
"""

import argparse
import json
import os
import random
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import dashboard
import expressions
import hours
import live_server
from check import expect
from live_check import Prometheus

REPLICAS = 3
AGENTS = ["ann", "bob", "cleo", "dan", "eve"]
SECONDS = 120
POSTS_PER_SECOND = 7
# A post is this long before its deadline when it comes.
LEFT_SECONDS = 20
RESPOND_SECONDS = 15 * 60
ANSWER_SECONDS = 1.5
# Nobody works for longer than a post has left, so that some cases are late.
BREAK = (40, 64)
# Of an agent's cases, every sixth turns out to be a false alarm.
FALSE_ALARM_EVERY = 6
ROW = "Cases"
SHARE = "Cases answered in time"
# rate() guesses what lies between the last scrape and the present, of each replica anew.
SHARE_TOLERANCE = 0.01
SCRAPED_SECONDS_MAX = 10
CALM_SECONDS = 5


class Fleet(live_server.LoadedServer):
    """Replicas that share a log, with posts for `seconds`; gone when the block ends."""

    def __enter__(self) -> "Fleet":
        settings = {
            "POUNCE_OBSERVATIONS": f"nats://127.0.0.1:{self.start_nats()}",
            "POUNCE_TOPIC_LABELS": ",".join(live_server.TOPICS),
            "POUNCE_CASES": "low",
            "POUNCE_WORKERS": "1",
            "POUNCE_DRAIN_NOTICE": "0",
            "RUST_LOG": "info",
        }
        self.servers: list[subprocess.Popen] = []
        self.serving: list[dict] = []
        try:
            for number in range(REPLICAS):
                log = self.folder / f"server-{number}.log"
                with log.open("w") as out:
                    server = subprocess.Popen(
                        self.command, env=os.environ | settings, stdout=out, stderr=subprocess.STDOUT
                    )
                self.servers.append(server)
                self.serving.append(self.wait_for_line(log, server, "serving"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.servers, self.nats]:
            process.terminate()
            process.wait(timeout=60)

    def address(self, number: int) -> str:
        """The gRPC port of a replica, for whoever has this number."""
        return f"http://{self.serving[number % REPLICAS]['grpc']}"

    def cases(self, number: int, *words: str) -> subprocess.CompletedProcess:
        """`pounce cases` with a replica."""
        command = [self.binary, "cases", *words, "--addr", self.address(number)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def listed(self, number: int, *states: str) -> list[dict]:
        """The cases in these states, as a replica has them."""
        done = self.cases(number, "--json", "--states", ",".join(states))
        expect(done.returncode == 0, f"no list of cases: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def feed(self, address: str, number: int) -> None:
        """One stream: its share of the posts."""
        words = [self.binary, "score", "--addr", address, "-"]
        log = self.folder / f"client-{number}.log"
        with log.open("w") as err:
            client = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=err, text=True)
        chance, sent, began = random.Random(number), 0, time.monotonic()
        while (age := time.monotonic() - began) < self.seconds:
            while sent < age * POSTS_PER_SECOND / REPLICAS:
                dated = {"posted_at": time.time() - RESPOND_SECONDS + LEFT_SECONDS}
                client.stdin.write(json.dumps(live_server.post(chance, f"{number}-{sent}", False) | dated) + "\n")
                sent += 1
            client.stdin.flush()
            time.sleep(0.05)
        client.stdin.close()
        client.wait(timeout=60)


def work(fleet: Fleet, number: int, began: float, over: threading.Event) -> list[str]:
    """Claims, answers and closes the most urgent case until there is none; the cases that this agent claimed."""
    claimed: list[str] = []
    while True:
        last = over.is_set()
        age = time.monotonic() - began
        waiting = [] if BREAK[0] < age < BREAK[1] else fleet.listed(number, "open")
        if not waiting:
            if last:
                return claimed
            time.sleep(0.2)
            continue
        # All want the first one.
        case = waiting[0]["id"]
        done = fleet.cases(number, "claim", case, "--by", AGENTS[number])
        if done.returncode:
            # Who comes second is told who was first.
            expect(any(agent in done.stderr for agent in AGENTS), f"no claim: {done.stderr}")
            continue
        claimed.append(case)
        time.sleep(ANSWER_SECONDS)
        outcome = "answered" if len(claimed) % FALSE_ALARM_EVERY else "false-alarm"
        done = fleet.cases(number, "close", case, "--by", AGENTS[number], "--outcome", outcome)
        expect(done.returncode == 0, f"not closed: {done.stderr}")


def afternoon(fleet: Fleet) -> list[str]:
    """Posts come in and are answered; the cases that somebody claimed, one for each claim."""
    over, began = threading.Event(), time.monotonic()
    with ThreadPoolExecutor(len(AGENTS) + REPLICAS) as pool:
        agents = [pool.submit(work, fleet, number, began, over) for number in range(len(AGENTS))]
        streams = [pool.submit(fleet.feed, fleet.address(number), number) for number in range(REPLICAS)]
        try:
            for stream in streams:
                stream.result()
        finally:
            over.set()
        return [case for agent in agents for case in agent.result()]


def punctual(cases: list[dict]) -> dict[str, int]:
    """How many cases were in time and late, by what they tell of themselves."""
    counts = {"in_time": 0, "late": 0, "opened_late": 0}
    for case in cases:
        opened, due, closed = (datetime.fromisoformat(case[at]) for at in ("opened_at", "respond_by", "closed_at"))
        if opened > due:
            counts["opened_late"] += 1
        elif closed > due:
            counts["late"] += 1
        elif case["outcome"] == "answered":
            counts["in_time"] += 1
    return counts


def number_of(prometheus: Prometheus, query: str) -> float:
    """The one number that a query has."""
    return float(prometheus.ask("query", query=query)[0]["value"][1])


def verify(fleet: Fleet, prometheus: Prometheus, claimed: list[str]) -> None:
    """Cases, counters and dashboard agree with what the agents did."""
    replicas = [fleet.listed(number, "open", "claimed", "closed") for number in range(REPLICAS)]
    cases = replicas[0]
    by_id = [sorted(replica, key=lambda case: case["id"]) for replica in replicas]
    expect(all(replica == by_id[0] for replica in by_id), "the replicas have different cases")
    expect(all(case["state"] == "closed" for case in cases), "a case is not closed")
    expect(len(claimed) == len(set(claimed)), "a case was claimed twice")
    expect(set(claimed) == {case["id"] for case in cases}, "a case was not claimed")
    print(f"ok    {len(cases)} cases, each claimed once and closed, the same on {REPLICAS} replicas")

    did = punctual(cases)
    asked = {"sum(pounce_cases_opened_total)": len(cases), "sum(pounce_cases_closed_total)": len(cases)}
    asked |= {"max(pounce_cases_open)": 0, "max(pounce_cases_overdue)": 0}
    asked |= {f'sum(pounce_cases_due_total{{result="{result}"}})': count for result, count in did.items()}
    # The last changes are seen with the next scrape.
    until = time.monotonic() + SCRAPED_SECONDS_MAX
    for query, count in asked.items():
        while (found := number_of(prometheus, query)) != count and time.monotonic() < until:
            time.sleep(0.2)
        expect(found == count, f"{query} is {found:g}, and the cases say {count}")
        print(f"ok    {query} is {found:g}")
    share = did["in_time"] / (did["in_time"] + did["late"])
    shown = number_of(prometheus, hours.queries(SHARE)[0].text)
    expect(abs(shown - share) < SHARE_TOLERANCE, f"the dashboard shows {shown:.4f}, and the cases say {share:.4f}")
    print(f"ok    {SHARE}: the dashboard shows {shown:.2%}, the cases say {share:.2%}")


def draw(prometheus: Prometheus, file: Path, start: float, end: float) -> None:
    """Draws the panels of the row."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.dates as dates
    import matplotlib.pyplot as plt

    made = json.loads(expressions.DASHBOARD.read_text())
    panels = {panel["title"]: panel for panel in expressions.panels(made)}
    figure, axes = plt.subplots(2, 3, figsize=(16, 7), constrained_layout=True)
    for axis, panel in zip(axes.flat, dashboard.ROWS[ROW], strict=True):
        hours.draw_chart(axis, prometheus, panels[panel.title], start, end, step=1)
        axis.xaxis.set_major_locator(dates.SecondLocator(bysecond=(0, 30)))
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=75)
    print(f"drawn {file}")


def main() -> None:
    """Runs the afternoon, compares, draws."""
    words = argparse.ArgumentParser(prog="k8s/check --afternoon", description=__doc__.splitlines()[0])
    words.add_argument("--pounce", type=Path, required=True, metavar="BINARY", help="the server")
    words.add_argument("--model", type=Path, default=Path("model"), metavar="DIR", help="its model (default model)")
    words.add_argument("--picture", type=Path, required=True, metavar="FILE", help="the PNG")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with (
            Fleet(given.pounce, given.model, SECONDS, folder) as fleet,
            Prometheus([serving["http"] for serving in fleet.serving], folder) as prometheus,
        ):
            start = time.time()
            claimed = afternoon(fleet)
            verify(fleet, prometheus, claimed)
            # So that the picture ends with what was verified.
            time.sleep(CALM_SECONDS)
            draw(prometheus, given.picture, start, time.time())


if __name__ == "__main__":
    main()
