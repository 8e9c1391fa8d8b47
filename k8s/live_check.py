"""Holds the rules and the dashboard against running servers.

A real Prometheus scrapes the servers every second, with our rules. Then every
expression of every rule and panel must return data, and `promtool check metrics` must
find nothing.

    k8s/check --live --pounce target/release/pounce
    k8s/check --live --target 127.0.0.1:9464 --target 127.0.0.1:9465

Servers given by --target must be under load, with posts that name topics, from before
the start to the end: without posts, latencies and shares are empty.
"""

import argparse
import json
import math
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

import expressions
from expressions import Expression
from live_server import LoadedServer

# What may be empty in a run of a minute, and why. Data there is welcome.
MAY_BE_EMPTY = {
    "Memory": "the kubelet measures it, and there is none",
    "CPU throttling": "the kubelet measures it, and there is none",
    "Alerts of Prometheus": "empty while all is well",
    "Topic alerts opened": "no topic alert opened",
    "Time to acknowledge": "nobody acknowledged an alert",
    "Detection delay": "no topic alert opened",
    "PounceCertificateExpires": "the server has no certificate",
    "PounceNotificationsFail": "the server notifies nobody",
}

START_SECONDS_MAX = 30


class Prometheus:
    """A Prometheus of our own on a free loopback port, gone when the block ends."""

    def __init__(self, targets: list[str], folder: Path, bridges: list[str] | None = None) -> None:
        groups = expressions.rule_groups()
        for group in groups["groups"]:
            group.pop("interval", None)
        (folder / "rules.yaml").write_text(yaml.safe_dump(groups))
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [
                {"job_name": "pounce", "static_configs": [{"targets": targets}]},
                {"job_name": "pounce-bridge", "static_configs": [{"targets": bridges or []}]},
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}/api/v1"
        self.ready = f"http://{address}/-/ready"
        self.folder = folder
        self.command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=warn",
        ]

    def __enter__(self) -> "Prometheus":
        self.log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                urllib.request.urlopen(self.ready, timeout=30).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    sys.exit(f"Prometheus did not start:\n{(self.folder / 'log').read_text()}")
                time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()

    def ask(self, call: str, **parameters: str | float) -> list[dict]:
        """The answer to one call of the HTTP API. Raises ValueError on a bad expression."""
        url = f"{self.url}/{call}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as fault:
            raise ValueError(json.load(fault).get("error", str(fault))) from fault

    def has_data(self, expression: str) -> bool:
        """Whether an expression has a value that is a number."""
        result = self.ask("query", query=expression)
        # A bare number comes as [time, value], series as {"metric", "value"}.
        values = [item["value"][1] for item in result if isinstance(item, dict)]
        return any(not math.isnan(float(value)) for value in values)


def answered(expression: str) -> str:
    """An alert's expression that has a value also while the alert does not fire.

    Comparisons give 0 or 1 instead of dropping series, exceptions are asked for
    instead of taken out, and yesterday is today. What then returns data proves that
    every metric is there and that the labels of every pair match.
    """
    parts = re.split(r'(\{[^}]*\}|"[^"]*")', expression)
    for index in range(0, len(parts), 2):
        part = re.sub(r"([<>]=?|[=!]=)(?!\s*bool)", r"\1 bool", parts[index])
        part = re.sub(r"\bunless\b", "and", part)
        parts[index] = re.sub(r"\boffset \w+", "", part)
    return "".join(parts)


def questions() -> list[tuple[str, Expression]]:
    """What must have data: recorded series, alerts made answerable, panels, autoscalers."""
    asked = []
    for rule in expressions.rules():
        if "record" in rule:
            labels = ",".join(f'{name}="{value}"' for name, value in rule.get("labels", {}).items())
            asked.append(("rule", Expression(rule["record"], f"{rule['record']}{{{labels}}}")))
        else:
            asked.append(("rule", Expression(rule["alert"], answered(rule["expr"]))))
    asked += [("panel", query) for query in expressions.of_dashboard()]
    # The namespace and pod that a cluster would add are absent here.
    asked += [
        ("autoscaler", Expression(query.where, re.sub(r'namespace="\w+"', "", query.text)))
        for query in expressions.of_autoscalers()
    ]
    return asked


def check(prometheus: Prometheus, targets: list[str]) -> int:
    """Prints what was found; the number of failures."""
    failed = 0
    for target in targets:
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
            text = answer.read()
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        clean = done.returncode == 0 and not done.stderr
        print(f"{'ok   ' if clean else 'FAIL '} promtool check metrics: {target}, {len(text.splitlines())} lines")
        if not clean:
            print(done.stderr.decode())
            failed += 1
        if not prometheus.has_data(f'up{{instance="{target}"}} == 1'):
            print(f"FAIL  {target} is not scraped")
            failed += 1
    counts = {"data": 0, "empty": 0}
    for kind, query in questions():
        try:
            found = prometheus.has_data(query.text)
        except ValueError as fault:
            print(f"FAIL  {kind} {query.where}: {fault}\n{query.text}")
            failed += 1
            continue
        if found:
            counts["data"] += 1
        elif query.where in MAY_BE_EMPTY:
            counts["empty"] += 1
            print(f"empty {kind} {query.where}: {MAY_BE_EMPTY[query.where]}")
        else:
            print(f"FAIL  {kind} {query.where} has no data:\n{query.text}")
            failed += 1
    for item in prometheus.ask("query", query='ALERTS{alertstate="firing"}'):
        print(f"firing {item['metric']}")
    print(f"{counts['data']} expressions have data, {counts['empty']} are empty for a reason, {failed} failed")
    return failed


def examine(targets: list[str], bridges: list[str], seconds: int, folder: Path) -> int:
    """Collects and checks; the number of failures."""
    with Prometheus(targets, folder, bridges) as prometheus:
        time.sleep(seconds)
        return check(prometheus, targets + bridges)


def main() -> None:
    """Against servers that run, or against one of our own."""
    words = argparse.ArgumentParser(prog="k8s/check --live", description=__doc__.splitlines()[0])
    where = words.add_mutually_exclusive_group(required=True)
    where.add_argument("--target", action="append", metavar="HOST:PORT", help="HTTP port of a server; repeat for more")
    words.add_argument("--bridge", action="append", default=[], metavar="HOST:PORT", help="HTTP port of a bridge")
    where.add_argument("--pounce", type=Path, metavar="BINARY", help="start this one, under load of made-up posts")
    words.add_argument("--model", type=Path, default=Path("model"), metavar="DIR", help="its model (default model)")
    words.add_argument("--seconds", type=int, default=60, help="how long to scrape before looking (default 60)")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if given.target:
            failed = examine(given.target, given.bridge, given.seconds, folder)
        else:
            with LoadedServer(given.pounce, given.model, given.seconds, folder) as server:
                failed = examine([server.http], [server.bridge_http], given.seconds, folder)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
