#!/usr/bin/env python3
"""Writes the Grafana dashboard from one table of panels.

`k8s/dashboard.py` prints the JSON that lies in components/monitoring/dashboard.json;
k8s/check holds the two against each other. The panels say what they show and which
expressions they draw; places, ids and everything that Grafana wants besides are
worked out here. Needs the standard library alone.
"""

import json
from dataclasses import dataclass, field

HERE = 'namespace=~"$namespace"'
TOPIC = f'{HERE},topic=~"$topic"'
RATE = "$__rate_interval"
GRID_WIDTH = 24
HEIGHT = 8


@dataclass
class Panel:
    """One picture: `queries` are (expression, legend) pairs."""

    title: str
    description: str
    unit: str
    queries: list[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    # Drawn as a red line.
    limit: float | None = None
    top: float | None = None
    stacked: bool = False
    repeat: str | None = None
    hidden_columns: list[str] = field(default_factory=list)


def calls(codes: str) -> str:
    """Calls a second that ended with one of `codes`, a pattern."""
    selector = f'{HERE},grpc_service=~"pounce.v1.+",grpc_code=~"{codes}"'
    return f"sum by (grpc_method, grpc_code) (rate(grpc_server_handled_total{{{selector}}}[{RATE}]))"


def quantiles(histogram: str, selector: str = HERE, by: str = "", window: str = RATE) -> list[tuple[str, str]]:
    """Median, 95th and 99th percentile of a histogram over all replicas."""
    labels = f"le, {by}" if by else "le"
    name = f"{{{{{by}}}}} " if by else ""
    return [
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket{{{selector}}}[{window}])))",
            f"{name}p{q * 100:g}",
        )
        for q in (0.5, 0.95, 0.99)
    ]


def topic_rule(name: str) -> str:
    """A recorded series of the chosen topics over 15 minutes."""
    window = ',window="15m"' if name in ("share", "bound") else ""
    return f"namespace_topic:pounce_discontent:{name}{{{TOPIC}{window}}}"


ROWS = {
    "Discontent": [
        Panel(
            "Discontent about $topic",
            "Share of negative posts in the last 15 minutes, its lower bound (Wilson, 99.6 %), the topic's usual share "
            "(baseline), and the threshold that the bound must exceed for an alert. Over all replicas.",
            "percentunit",
            [(topic_rule(name), name) for name in ("share", "bound", "baseline", "threshold")],
            width=12,
            repeat="topic",
        ),
        Panel(
            "Topics with most discontent",
            "The ten highest lower bounds now: a topic with few posts has a low one.",
            "percentunit",
            [(f'topk(10, namespace_topic:pounce_discontent:bound{{{HERE},window="15m"}})', "{{topic}}")],
            kind="bargauge",
        ),
        Panel(
            "Discontent posts a minute",
            "For the topics selected above.",
            "cpm",
            [
                (
                    f'60 * sum by (topic) (rate(pounce_topic_discontent_total{{{TOPIC}}}[{RATE}]))',
                    "{{topic}}",
                )
            ],
        ),
        Panel(
            "Topic alerts firing",
            "Reported by the replicas, by kind of alert. Replicas that share a log have the same ones; otherwise each "
            "counts only its own posts, and the sum is shown.",
            "short",
            [
                (
                    f"max by (kind) (pounce_alerts_firing{{{HERE}}} and on (namespace, instance) pounce_log_position) "
                    f"or sum by (kind) (pounce_alerts_firing{{{HERE}}})",
                    "{{kind}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Alerts of Prometheus",
            "Firing now; each has a section in docs/runbook.md.",
            "short",
            [('ALERTS{alertname=~"Pounce.+",alertstate="firing"}', "")],
            kind="table",
            hidden_columns=["Time", "Value", "__name__", "alertstate", "job", "container", "endpoint"],
        ),
        Panel(
            "Flagged posts a minute",
            "Flags by severity; a post may carry several.",
            "cpm",
            [(f"60 * sum by (flag, severity) (rate(pounce_post_flags_total{{{HERE}}}[{RATE}]))", "{{flag}} {{severity}}")],
            stacked=True,
        ),
        Panel(
            "Time to acknowledge",
            "Time from the opening of an alert to its acknowledgement, over the last day. The target is 15 minutes.",
            "s",
            quantiles("pounce_alert_ack_seconds", by="kind", window="1d")[:2],
            limit=900,
        ),
        Panel(
            "Detection delay",
            "From the end of the minute that opened an alert, in event time, to its opening, over the last day.",
            "s",
            quantiles("pounce_alert_detection_delay_seconds", by="kind", window="1d")[:2],
        ),
    ],
    "Posts": [
        Panel(
            "Posts a second by result",
            "Posts scored, rejected (the sender gets the reason), and removed from the queue without a score.",
            "cps",
            [
                (f"sum(rate(pounce_posts_total{{{HERE}}}[{RATE}]))", "scored"),
                (f"sum by (reason) (rate(pounce_posts_rejected_total{{{HERE}}}[{RATE}]))", "rejected {{reason}}"),
                (f"sum by (reason) (rate(pounce_posts_dropped_total{{{HERE}}}[{RATE}]))", "dropped {{reason}}"),
            ],
        ),
        Panel(
            "Sentiment",
            "Scored posts a second by sentiment.",
            "cps",
            [(f"sum by (sentiment) (rate(pounce_posts_total{{{HERE}}}[{RATE}]))", "{{sentiment}}")],
            stacked=True,
        ),
        Panel(
            "Refused against the error budget",
            "Share of posts rejected through a fault of the service. The budget is 0.1 % over 30 days.",
            "percentunit",
            [
                (f"namespace:pounce_post_errors:ratio_rate5m{{{HERE}}}", "5 minutes"),
                (f"namespace:pounce_post_errors:ratio_rate1h{{{HERE}}}", "1 hour"),
                (f"namespace:pounce_post_errors:ratio_rate3d{{{HERE}}}", "3 days"),
            ],
            limit=0.001,
        ),
        Panel(
            "Time of a post, end to end",
            "From being accepted to its event being handed to the transport.",
            "s",
            quantiles("pounce_post_duration_seconds"),
            limit=1,
        ),
        Panel(
            "Time of a post by stage",
            "95th percentile of each stage: where the time goes.",
            "s",
            [
                (
                    "histogram_quantile(0.95, sum by (le, stage) "
                    f"(rate(pounce_stage_duration_seconds_bucket{{{HERE}}}[{RATE}])))",
                    "{{stage}}",
                )
            ],
        ),
        Panel(
            "Calls a second by result",
            "gRPC calls that ended; a stream counts once, at its end.",
            "cps",
            [
                (
                    # Codes that no call ends with are series too.
                    f'{calls("OK")} or {calls(".+")} > 0',
                    "{{grpc_method}} {{grpc_code}}",
                )
            ],
        ),
    ],
    "Observation log": [
        Panel(
            "Behind the log",
            "Time since each replica had read the whole observation log. More than 5 s: its AlertService is not ready.",
            "s",
            [(f"pounce_log_behind_seconds{{{HERE}}}", "{{pod}} {{instance}}")],
            limit=5,
        ),
        Panel(
            "Time to append",
            "From sending a batch of observations to its being stored.",
            "s",
            quantiles("pounce_log_append_seconds"),
        ),
        Panel(
            "Waiting for the log",
            "Observations that are not stored yet, and replicas that answer posts as not counted yet.",
            "short",
            [
                (f"sum(pounce_log_buffer_items{{{HERE}}})", "observations"),
                (f"sum(pounce_log_breaker_open{{{HERE}}})", "replicas not waiting"),
                (f"sum(increase(pounce_log_dropped_total{{{HERE}}}[{RATE}]))", "dropped"),
            ],
        ),
        Panel(
            "Entries a second",
            "Of the log, as read by each replica: applied, or not.",
            "cps",
            [(f"max by (result) (rate(pounce_log_entries_total{{{HERE}}}[{RATE}]))", "{{result}}")],
        ),
        Panel(
            "Snapshots",
            "For replicas that start: one is due every 30 s.",
            "short",
            [(f"sum by (result) (increase(pounce_log_snapshots_total{{{HERE}}}[10m]))", "{{result}} in 10 minutes")],
        ),
    ],
    "Capacity": [
        Panel(
            "Queue fill",
            "Share of each replica's queue in use. The autoscaler aims at 60 %; the alert fires at 90 % over all replicas.",
            "percentunit",
            [(f"pounce_queue_posts{{{HERE}}} / pounce_queue_capacity{{{HERE}}}", "{{pod}} {{instance}}")],
            limit=0.9,
            top=1,
        ),
        Panel(
            "Workers busy",
            "Workers that run the model now, and all workers.",
            "short",
            [
                (f"sum(avg_over_time(pounce_workers_busy{{{HERE}}}[{RATE}]))", "busy"),
                (f"sum(pounce_workers{{{HERE}}})", "workers"),
            ],
        ),
        Panel(
            "Streams",
            "Open streams of each replica. They should be about equal.",
            "short",
            [(f"pounce_streams_open{{{HERE}}}", "{{pod}} {{instance}}")],
        ),
        Panel(
            "Posts a batch",
            "Mean and 95th percentile; small batches mean idle workers, not a fault.",
            "short",
            [
                (
                    f"sum(rate(pounce_batch_posts_sum{{{HERE}}}[{RATE}])) / sum(rate(pounce_batch_posts_count{{{HERE}}}[{RATE}]))",
                    "mean",
                ),
                (
                    f"histogram_quantile(0.95, sum by (le) (rate(pounce_batch_posts_bucket{{{HERE}}}[{RATE}])))",
                    "p95",
                ),
            ],
        ),
        Panel(
            "Padding",
            "Share of the tokens in a batch that are padding, not text.",
            "percentunit",
            [
                (
                    f'sum(rate(pounce_tokens_total{{{HERE},kind="padding"}}[{RATE}])) / sum(rate(pounce_tokens_total{{{HERE}}}[{RATE}]))',
                    "padding",
                )
            ],
            top=1,
        ),
        Panel(
            "Tokens a batch",
            "Padded size of a batch: median and 95th percentile.",
            "short",
            quantiles("pounce_batch_padded_tokens")[:2],
        ),
        Panel(
            "Batches closed a second",
            "Why a batch was closed.",
            "cps",
            [(f"sum by (reason) (rate(pounce_batches_closed_total{{{HERE}}}[{RATE}]))", "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Memory",
            "Working set of each pod, from the kubelet.",
            "bytes",
            [(f'container_memory_working_set_bytes{{{HERE},container="pounce"}}', "{{pod}}")],
        ),
        Panel(
            "CPU throttling",
            "Share of scheduling periods in which a pod was held back, from the kubelet. Workers equal to cores keep it low.",
            "percentunit",
            [
                (
                    f'rate(container_cpu_cfs_throttled_periods_total{{{HERE},container="pounce"}}[{RATE}])'
                    f' / rate(container_cpu_cfs_periods_total{{{HERE},container="pounce"}}[{RATE}])',
                    "{{pod}}",
                )
            ],
            top=1,
        ),
    ],
    "Event time and life": [
        Panel(
            "Not counted, a minute",
            "Posts too late for their topic's statistics, posts seen before, and alerts held back by another.",
            "cpm",
            [
                (f"60 * sum(rate(pounce_events_late_total{{{HERE}}}[{RATE}]))", "late"),
                (f"60 * sum(rate(pounce_events_duplicate_total{{{HERE}}}[{RATE}]))", "duplicate"),
                (f"60 * sum by (reason) (rate(pounce_alerts_suppressed_total{{{HERE}}}[{RATE}]))", "suppressed {{reason}}"),
            ],
        ),
        Panel(
            "Watermark lag",
            "How far the event time of each replica is behind the clock.",
            "s",
            [(f"time() - (pounce_watermark_timestamp_seconds{{{HERE}}} > 0)", "{{pod}} {{instance}}")],
            limit=600,
        ),
        Panel(
            "Topic alerts opened an hour",
            "By kind of alert and severity.",
            "short",
            [(f"sum by (kind, severity) (increase(pounce_alerts_opened_total{{{HERE}}}[1h]))", "{{kind}} {{severity}}")],
            stacked=True,
        ),
        Panel(
            "Workers rebuilt and replicas draining",
            "Workers rebuilt after a failure in the last 15 minutes; replicas that are shutting down.",
            "short",
            [
                (f"sum(increase(pounce_worker_restarts_total{{{HERE}}}[15m]))", "workers rebuilt"),
                (f"sum(pounce_draining{{{HERE}}})", "draining"),
            ],
        ),
        Panel(
            "Versions",
            "How many replicas run which build.",
            "short",
            [(f"count by (version) (pounce_build_info{{{HERE}}})", "{{version}}")],
            kind="stat",
        ),
        Panel(
            "Models",
            "How many replicas serve which model; two at a time only during a rollout.",
            "short",
            [(f"count by (model, revision) (pounce_model_info{{{HERE}}})", "{{model}} {{revision}}")],
            kind="stat",
        ),
    ],
}


def targets(panel: Panel) -> list[dict]:
    """The queries as Grafana writes them."""
    instant = panel.kind != "timeseries"
    return [
        {
            "refId": chr(ord("A") + index),
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "expr": expression,
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for index, (expression, legend) in enumerate(panel.queries)
    ]


def thresholds(panel: Panel) -> dict:
    """Green below the limit, red above."""
    steps: list[dict] = [{"color": "green", "value": None}]
    if panel.limit is not None:
        steps.append({"color": "red", "value": panel.limit})
    return {"mode": "absolute", "steps": steps}


def render(panel: Panel, panel_id: int, x: int, y: int) -> dict:
    """One panel at its place."""
    defaults: dict = {"unit": panel.unit, "min": 0, "thresholds": thresholds(panel)}
    if panel.top is not None:
        defaults["max"] = panel.top
    out = {
        "id": panel_id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": HEIGHT, "w": panel.width, "x": x, "y": y},
        "targets": targets(panel),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {},
    }
    if panel.kind == "timeseries":
        defaults["color"] = {"mode": "palette-classic"}
        defaults["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.limit is not None else "off"},
            "showPoints": "never",
            "spanNulls": False,
        }
        out["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind == "table":
        hidden = {name: True for name in panel.hidden_columns}
        out["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    else:
        out["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "horizontal",
        }
        if panel.kind == "stat":
            out["options"]["textMode"] = "value_and_name"
    if panel.repeat:
        out |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 2}
    return out


def layout() -> list[dict]:
    """Rows with their panels, from left to right and from top to bottom."""
    panels: list[dict] = []
    y = 0
    for title, row in ROWS.items():
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": GRID_WIDTH, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x = 0
        for panel in row:
            # A repeated panel has the rest of its line for its repetitions.
            if x + panel.width > GRID_WIDTH or (panels[-1].get("repeat") and x):
                x, y = 0, y + HEIGHT
            panels.append(render(panel, len(panels) + 1, x, y))
            x += panel.width
        y += HEIGHT
    return panels


def query_variable(name: str, label: str, query: str, current: dict) -> dict:
    """A choice of label values; `.*` for all also takes series without the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": "A"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": current,
        "options": [],
    }


def dashboard() -> dict:
    """The whole dashboard."""
    every = {"text": ["All"], "value": ["$__all"]}
    return {
        "uid": "pounce",
        "title": "Pounce",
        "description": "Sentiment by topic, alerts, and the health of the service.",
        "tags": ["pounce"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {},
                    "options": [],
                },
                query_variable("namespace", "Namespace", "label_values(pounce_build_info, namespace)", every),
                query_variable(
                    "topic", "Topic", f"label_values(pounce_topic_posts_total{{{HERE}}}, topic)", {}
                ),
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": layout(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
