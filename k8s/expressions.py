"""The PromQL of the rules, the dashboard and the autoscalers, read from the files that hold it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

K8S = Path(__file__).resolve().parent
RULES = K8S / "components/monitoring/rules.yaml"
DASHBOARD = K8S / "components/monitoring/dashboard.json"

# What Grafana and prometheus-adapter put in before they ask.
VARIABLES = {
    "$__rate_interval": "15s",
    "$namespace": ".*",
    "$topic": ".*",
    "<<.GroupBy>>": "pod",
    "<<.LabelMatchers>>": "",
}


@dataclass(frozen=True)
class Expression:
    """One expression, and where it stands."""

    where: str
    text: str
    legend: str = ""


def rule_groups() -> dict:
    """The rules as Prometheus itself reads them: the spec of the PrometheusRule."""
    return yaml.safe_load(RULES.read_text())["spec"]


def rules() -> list[dict]:
    """All recording and alerting rules, in order."""
    return [rule for group in rule_groups()["groups"] for rule in group["rules"]]


def of_rules() -> list[Expression]:
    """The expressions of the rules."""
    return [Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def panels(dashboard: dict) -> list[dict]:
    """The panels of a dashboard, those of folded rows too."""
    return [inner for panel in dashboard["panels"] for inner in (panel, *panel.get("panels", []))]


def of_dashboard() -> list[Expression]:
    """The expressions of the dashboard's panels and annotations, variables put in."""
    made = json.loads(DASHBOARD.read_text())
    drawn = [
        Expression(panel["title"], filled(target["expr"]), target["legendFormat"])
        for panel in panels(made)
        for target in panel.get("targets", [])
    ]
    return drawn + [Expression(mark["name"], filled(mark["expr"])) for mark in made["annotations"]["list"]]


def of_autoscalers() -> list[Expression]:
    """What KEDA and prometheus-adapter ask."""
    adapter = yaml.safe_load((K8S / "prometheus-adapter.yaml").read_text())
    scaled = [yaml.safe_load((K8S / "components" / name / "scaled-object.yaml").read_text()) for name in ("keda", "bridge")]
    queries = [("prometheus-adapter", rule["metricsQuery"]) for rule in adapter["rules"]["custom"]]
    queries += [("KEDA", trigger["metadata"]["query"]) for item in scaled for trigger in item["spec"]["triggers"]]
    return [Expression(where, filled(text)) for where, text in queries]


def filled(text: str) -> str:
    """An expression without variables."""
    for name, value in VARIABLES.items():
        text = text.replace(name, value)
    if left := re.search(r"\$\w+|<<", text):
        raise ValueError(f"unknown variable {left[0]} in: {text}")
    return text
