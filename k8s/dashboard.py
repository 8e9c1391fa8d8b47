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
    # Of a table with several queries: the name and unit of each one's column.
    columns: list[tuple[str, str]] = field(default_factory=list)
    height: int = HEIGHT
    decimals: int | None = None


# Rows that are folded until somebody looks for them.
COLLAPSED = {"Observation log", "Bridge", "Engine", "Event time and life"}


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


def of_fleet(gauge: str, by: str = "") -> str:
    """A number of alerts or cases: of replicas that share a log that of one, of others the sum."""
    grouped = f" by ({by})" if by else ""
    return (
        f"max{grouped} ({gauge}{{{HERE}}} and on (namespace, instance) pounce_log_position) "
        f"or sum{grouped} ({gauge}{{{HERE}}})"
    )


def by_topic(expression: str) -> str:
    """A value for each topic, without the labels in which those of one table differ."""
    return f"max by (topic) ({expression})"


ALL_TOPICS = f'{HERE},window="15m"'

ROWS = {
    "Now": [
        Panel(
            "Alerts firing",
            "Topic alerts that fire. Replicas that share a log have the same ones; of others the sum is shown.",
            "short",
            [(f"sum({of_fleet('pounce_alerts_firing', by='kind')})", "firing")],
            kind="stat",
            width=5,
            height=4,
            limit=1,
        ),
        Panel(
            "Not acknowledged",
            "Topic alerts that fire and that nobody has acknowledged.",
            "short",
            [(of_fleet("pounce_alerts_unacknowledged"), "not acknowledged")],
            kind="stat",
            width=5,
            height=4,
            limit=1,
        ),
        Panel(
            "Overdue",
            "Those among them that somebody should have responded to by now.",
            "short",
            [(of_fleet("pounce_alerts_overdue"), "overdue")],
            kind="stat",
            width=5,
            height=4,
            limit=1,
        ),
        Panel(
            "99th percentile of a post",
            "From being accepted to its event being handed to the transport, over the last five minutes.",
            "s",
            [
                (
                    f"histogram_quantile(0.99, sum by (le) (rate(pounce_post_duration_seconds_bucket{{{HERE}}}[5m])))",
                    "p99",
                )
            ],
            kind="stat",
            width=5,
            height=4,
            limit=1,
            decimals=2,
        ),
        Panel(
            "Replicas",
            "Replicas that Prometheus reaches.",
            "short",
            [(f'sum(up{{job="pounce",{HERE}}})', "replicas")],
            kind="stat",
            width=4,
            height=4,
        ),
    ],
    "Discontent": [
        Panel(
            "Topics",
            "Each topic over the last 15 minutes and all replicas: the lower bound of its share of discontent posts over "
            "the threshold. Above 1 its alert fires.",
            "short",
            [
                (by_topic(f"namespace_topic:pounce_posts:increase{{{ALL_TOPICS}}}"), "posts"),
                (by_topic(f"namespace_topic:pounce_discontent:share{{{ALL_TOPICS}}}"), "share"),
                (by_topic(f"namespace_topic:pounce_discontent:bound{{{ALL_TOPICS}}}"), "bound"),
                (by_topic(f"namespace_topic:pounce_discontent:threshold{{{HERE}}}"), "threshold"),
                (
                    by_topic(
                        f"namespace_topic:pounce_discontent:bound{{{ALL_TOPICS}}} / on (namespace, topic) "
                        f"namespace_topic:pounce_discontent:threshold{{{HERE}}}"
                    ),
                    "bound / threshold",
                ),
            ],
            kind="table",
            width=24,
            columns=[
                ("Posts", "short"),
                ("Share", "percentunit"),
                ("Lower bound", "percentunit"),
                ("Threshold", "percentunit"),
                ("Bound over threshold", "short"),
            ],
            limit=1,
        ),
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
            [(of_fleet("pounce_alerts_firing", by="kind"), "{{kind}}")],
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
    "Cases": [
        Panel(
            "Cases answered in time",
            "Of the cases that were due in the last day, the share that got a response by the deadline, 15 minutes "
            "after their first post was published. The objective is 90 %. Cases whose post came too late, and cases "
            "that needed no response, count for neither.",
            "percentunit",
            [
                (
                    f'sum(rate(pounce_cases_due_total{{{HERE},result="in_time"}}[1d])) '
                    f'/ sum(rate(pounce_cases_due_total{{{HERE},result=~"in_time|late"}}[1d]))',
                    "in time",
                )
            ],
            top=1.0,
        ),
        Panel(
            "Cases not closed",
            "By severity. Replicas that share a log have the same ones; otherwise the sum is shown.",
            "short",
            [(of_fleet("pounce_cases_open", by="severity"), "{{severity}}")],
            stacked=True,
        ),
        Panel(
            "Cases overdue",
            "Cases whose deadline passed and that nobody closed, by topic.",
            "short",
            [(of_fleet("pounce_cases_overdue", by="topic"), "{{topic}}")],
            stacked=True,
        ),
        Panel(
            "Time to claim",
            "From a case's opening to its first claim, over the last day.",
            "s",
            quantiles("pounce_case_claim_seconds", window="1d")[:2],
            limit=900,
        ),
        Panel(
            "Time to close",
            "From a case's opening to its closing, over the last day.",
            "s",
            quantiles("pounce_case_close_seconds", window="1d")[:2],
            limit=900,
        ),
        Panel(
            "Share of false alarms",
            "Of the cases closed in the last day, the share whose flag was wrong: what is left of 100 % is the model's "
            "precision as its users live it.",
            "percentunit",
            [
                (
                    f'sum by (severity) (rate(pounce_cases_closed_total{{{HERE},outcome="false_alarm"}}[1d])) '
                    f"/ sum by (severity) (rate(pounce_cases_closed_total{{{HERE}}}[1d]))",
                    "{{severity}}",
                )
            ],
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
    "Capacity": [
        Panel(
            "Queue fill",
            "Share of each replica's queue in use. The alert fires at 90 % over all replicas; the autoscaler follows the workers.",
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
    "Engine": [
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
    "Bridge": [
        Panel(
            "Bridge lag",
            "Messages of the source that are not done: posts that wait in the broker, and those in flight.",
            "short",
            [(f"namespace:pounce_bridge_lag:posts{{{HERE}}}", "{{namespace}}")],
        ),
        Panel(
            "Messages a second",
            "Read by the bridges, and stored: as events, or as dead letters by the reason.",
            "cps",
            [
                (f"sum(rate(pounce_bridge_received_total{{{HERE}}}[{RATE}]))", "read"),
                (f"sum(rate(pounce_bridge_redelivered_total{{{HERE}}}[{RATE}]))", "read again"),
                (f"sum(rate(pounce_bridge_events_total{{{HERE}}}[{RATE}]))", "events"),
                (f"sum by (code) (rate(pounce_bridge_dead_letters_total{{{HERE}}}[{RATE}]))", "dead {{code}}"),
            ],
        ),
        Panel(
            "Time of a post through the bridge",
            "From reading a message to acknowledging it.",
            "s",
            quantiles("pounce_bridge_post_duration_seconds"),
        ),
        Panel(
            "Messages in flight",
            "Of each bridge: read and not acknowledged. At --in-flight for long: the service or the sink is slow.",
            "short",
            [(f"pounce_bridge_in_flight{{{HERE}}}", "{{pod}} {{instance}}")],
        ),
        Panel(
            "Bridges that are not ready",
            "By what they can't use.",
            "short",
            [(f"count by (part) (pounce_bridge_ready{{{HERE}}}) - sum by (part) (pounce_bridge_ready{{{HERE}}})", "{{part}}")],
        ),
        Panel(
            "Attempts to store that failed",
            "They are made again until they succeed.",
            "cps",
            [(f"sum(rate(pounce_bridge_publish_failures_total{{{HERE}}}[{RATE}]))", "failed")],
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
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.top is not None:
        defaults["max"] = panel.top
    out = {
        "id": panel_id,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": panel.height, "w": panel.width, "x": x, "y": y},
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
    elif panel.columns:
        out |= columns(panel)
        out["fieldConfig"]["overrides"] = overrides(panel)
    elif panel.kind == "table":
        hidden = {name: True for name in panel.hidden_columns}
        out["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    else:
        out["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "horizontal",
        }
        if panel.kind == "stat":
            named = "{{" in panel.queries[0][1]
            out["options"]["textMode"] = "value_and_name" if named else "value"
    if panel.repeat:
        out |= {"repeat": panel.repeat, "repeatDirection": "h", "maxPerRow": 2}
    return out


def columns(panel: Panel) -> dict:
    """Several queries as one table: a row for each topic, that with the highest last column first."""
    values = [f"Value #{chr(ord('A') + index)}" for index in range(len(panel.queries))]
    names = {value: name for value, (name, _) in zip(values, panel.columns, strict=True)}
    order = {name: index for index, name in enumerate(["topic", *values])}
    return {
        "transformations": [
            {"id": "joinByField", "options": {"byField": "topic", "mode": "outer"}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {f"Time {index + 1}": True for index in range(len(values))} | {"Time": True},
                    "renameByName": names | {"topic": "Topic"},
                    "indexByName": order,
                },
            },
        ],
        "options": {"sortBy": [{"displayName": panel.columns[-1][0], "desc": True}]},
    }


def overrides(panel: Panel) -> list[dict]:
    """Units of a table's columns, a link on each topic, and colour where the last column passes the limit."""
    units = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, unit in panel.columns
    ]
    units[-1]["properties"] += [
        {"id": "decimals", "value": 2},
        {"id": "custom.cellOptions", "value": {"type": "color-background"}},
    ]
    page = {"title": "Its alerts and posts", "url": "${page}/#topic=${__value.text:percentencode}", "targetBlank": True}
    return [{"matcher": {"id": "byName", "options": "Topic"}, "properties": [{"id": "links", "value": [page]}]}, *units]


def layout() -> list[dict]:
    """Rows with their panels, from left to right and from top to bottom."""
    panels: list[dict] = []
    identity = 0
    y = 0
    for title, row in ROWS.items():
        identity += 1
        head = {
            "id": identity,
            "type": "row",
            "title": title,
            "collapsed": title in COLLAPSED,
            "gridPos": {"h": 1, "w": GRID_WIDTH, "x": 0, "y": y},
            "panels": [],
        }
        panels.append(head)
        # The panels of a folded row lie in it, and take no room.
        inside = head["panels"] if head["collapsed"] else panels
        y += 1
        x, top, height = 0, y, 0
        for panel in row:
            # A repeated panel has the rest of its line for its repetitions.
            if x + panel.width > GRID_WIDTH or (x and inside and inside[-1].get("repeat")):
                x, top, height = 0, top + height, 0
            identity += 1
            inside.append(render(panel, identity, x, top))
            x, height = x + panel.width, max(height, panel.height)
        y = y if head["collapsed"] else top + height
    return panels


def text_variable(name: str, label: str, value: str) -> dict:
    """Something that each installation has its own of."""
    return {
        "name": name,
        "label": label,
        "type": "textbox",
        "query": value,
        "current": {"text": value, "value": value},
        "options": [{"text": value, "value": value, "selected": True}],
    }


def annotation(name: str, colour: str, expression: str, title: str, text: str) -> dict:
    """Marks on every graph where an expression has a value."""
    return {
        "name": name,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "iconColor": colour,
        "expr": expression,
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
    }


ANNOTATIONS = [
    annotation(
        "Alerts of Prometheus",
        "red",
        f'ALERTS{{alertname=~"Pounce.+",alertstate="firing",{HERE}}}',
        "{{alertname}} {{topic}}",
        "{{severity}}, for {{audience}}",
    ),
    annotation(
        "Topic alerts opened",
        "orange",
        # Twice the step: a change between two windows would be seen in neither.
        f"sum by (kind, severity) (increase(pounce_alerts_opened_total{{{HERE}}}[2m])) > 0",
        "Topic alert opened",
        "{{kind}}, {{severity}}",
    ),
]


def link(title: str, url: str) -> dict:
    """A link in the head of the dashboard."""
    return {"title": title, "type": "link", "url": url, "targetBlank": True, "keepTime": False, "icon": "external link"}


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
                text_variable("page", "Address of Pounce's page", "http://localhost:9464"),
                text_variable("runbook", "Address of the runbook", "https://example.com/pounce/docs/runbook.md"),
            ]
        },
        "annotations": {"list": ANNOTATIONS},
        "links": [link("Alerts and posts", "${page}"), link("Runbook", "${runbook}")],
        "panels": layout(),
    }


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=2))
