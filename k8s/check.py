"""Checks manifests, rules, dashboard, Dockerfile and runbook; k8s/check installs the tools.

Each function is one check: it raises with what is wrong, or returns what it looked at.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import helm_python
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

import dashboard
import expressions

K8S = expressions.K8S
ROOT = K8S.parent
CUSTOM = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule, "ScaledObject": ScaledObject}
# Of KEDA 2.17, where the newest models on PyPI are of 2.16.
NEWER = {".spec.fallback.behavior"}
RECOMMENDED = ["name", "instance", "version", "part-of", "managed-by"]
SELECTORS = {
    component: {"app.kubernetes.io/name": "pounce", "app.kubernetes.io/component": component}
    for component in ("server", "nats", "bridge")
}
# Between the end of the drain and the kill: the snapshot, and calls that are cut off.
GRACE_ROOM_SECONDS = 5
CHART = ROOT / "helm/pounce"
# Overlays that the chart can be, and the values with which it is.
CHART_VALUES = {"production": None, "dev": CHART / "ci/dev.yaml"}
# Of the severities of helm lint: 0 unknown, 1 info, 2 warning, 3 error.
LINT_INFO = 1
# The chart that nats-chart.yaml is for.
NATS_CHART = "https://github.com/nats-io/k8s/releases/download/nats-2.14.2/nats-2.14.2.tgz"
COMPOSE_RULES = ROOT / "compose/rules.yaml"
COMPOSE_RULES_HEAD = "# k8s/components/monitoring/rules.yaml as Prometheus reads it; written by `k8s/check --write`.\n"


class Wrong(Exception):
    """What a check found."""


def expect(good: object, fault: str) -> None:
    """Fails the check with `fault` unless `good`."""
    if not good:
        raise Wrong(fault)


def run(*command: str | Path) -> str:
    """Output of a tool, which must succeed."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"{command[0]} exited with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


# --- manifests -------------------------------------------------------------------------


def render(folder: Path) -> dict[str, Path]:
    """Each overlay as one file, and production once more with KEDA, with NATS in each way, and with bridges."""
    overlays = {path.name: path for path in sorted((K8S / "overlays").iterdir())}
    hpa = "- ../../components/hpa"
    variants = {
        "KEDA": "- ../../components/keda",
        "NATS": f"{hpa}\n  - ../../components/nats",
        "NATS and TLS": f"{hpa}\n  - ../../components/nats\n  - ../../components/nats-tls",
        "a NATS elsewhere": f"{hpa}\n  - ../../components/nats-client\n  - ../../components/nats-client-tls",
        "bridges": f"{hpa}\n  - ../../components/bridge",
    }
    for name, components in variants.items():
        # Kustomize takes relative paths only, so the variant is made in a copy.
        shutil.copytree(K8S, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        variant = folder / name / "overlays/production/kustomization.yaml"
        variant.write_text(variant.read_text().replace(hpa, components))
        overlays[f"production with {name}"] = variant.parent
    overlays |= own_overlays(folder)
    files = {}
    for name, path in overlays.items():
        files[name] = folder / f"{name.replace(' ', '-')}.yaml"
        files[name].write_text(run("kubectl", "kustomize", path))
    return files


def own_overlays(folder: Path) -> dict[str, Path]:
    """The overlay on top of production that docs/operations.md shows, alone and with each component that the
    page adds to it."""
    page = (ROOT / "docs/operations.md").read_text()
    blocks = [yaml.safe_load(textwrap.dedent(block)) for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
    own = next(block for block in blocks if block.get("resources") == ["../production"])
    own["images"][0]["digest"] = f"sha256:{64 * '0'}"
    additions = [block for block in blocks if "components" in block]
    expect(len(additions) > 3, f"docs/operations.md shows {len(additions)} components only")
    overlays = {}
    for addition in [{}, *additions]:
        components = [Path(component).name for component in addition.get("components", [])]
        name = " with ".join(["own", *([" and ".join(components)] if components else [])])
        shutil.copytree(K8S, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        overlays[name] = folder / name / "overlays/own"
        overlays[name].mkdir()
        joined = own | addition | {"images": own["images"] + addition.get("images", [])}
        (overlays[name] / "kustomization.yaml").write_text(yaml.safe_dump(joined))
    return overlays


def objects(file: Path, kind: str | None = None) -> list[dict]:
    """The objects of a rendered overlay, all or of one kind."""
    every = [item for item in yaml.safe_load_all(file.read_text()) if item]
    return [item for item in every if kind in (None, item["kind"])]


def built_in_kinds(files: dict[str, Path]) -> str:
    """kubernetes-validate, strict: an unknown field is an error."""
    lines = []
    for file in files.values():
        lines += run("kubernetes-validate", "--strict", file).splitlines()
    passed = [line for line in lines if line.startswith("INFO")]
    unknown = {line.split("kind ")[1].split()[0] for line in lines if line.startswith("WARN")}
    expect(unknown <= set(CUSTOM), f"no schema for {unknown - set(CUSTOM)}")
    expect(len(passed) + len([line for line in lines if line.startswith("WARN")]) == len(lines), "\n".join(lines))
    return f"{len(passed)} objects"


def custom_kinds(files: dict[str, Path]) -> str:
    """The operators' own schemas; what they drop, they don't know."""
    seen = []
    for name, file in files.items():
        for item in objects(file):
            if model := CUSTOM.get(item["kind"]):
                known = model.model_validate(item).model_dump(mode="json", by_alias=True, exclude_none=True)
                lost = [field for field in missing(item, known) if field not in NEWER]
                expect(not lost, f"{name}: {item['kind']} has unknown fields {lost}")
                seen.append(item["kind"])
    expect(set(seen) == set(CUSTOM), f"only {set(seen)} seen")
    return f"{len(seen)} objects of {', '.join(sorted(set(seen)))}"


def missing(given: object, known: object, path: str = "") -> Iterator[str]:
    """Paths of `given` that `known` lacks."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(known, dict) or key not in known:
                yield f"{path}.{key}"
            else:
                yield from missing(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from missing(value, known[index], f"{path}[{index}]")


def security(files: dict[str, Path]) -> str:
    """checkov on the manifests and the Dockerfile; k8s/.checkov.yaml gives the reason of each skip."""
    words: list[str | Path] = ["checkov", "--config-file", K8S / ".checkov.yaml", "--output", "json"]
    for file in [*files.values(), ROOT / "Dockerfile"]:
        words += ["--file", file]
    reports = json.loads(run(*words, "--framework", "kubernetes", "dockerfile"))
    passed = sum(report["summary"]["passed"] for report in reports)
    expect(len(reports) == 2 and passed > 100, f"checkov looked at too little: {reports}")
    return f"{passed} checks passed"


def consistent(files: dict[str, Path]) -> str:
    """What no schema knows: numbers and names of different objects that must agree."""
    for name, file in files.items():
        by_kind = {kind: objects(file, kind) for kind in {item["kind"] for item in objects(file)}}
        deployments = {item["metadata"]["name"]: item for item in by_kind["Deployment"]}
        deployment = deployments["pounce"]
        pod = deployment["spec"]["template"]
        container = pod["spec"]["containers"][0]
        config = {
            item["metadata"]["name"]: item["data"] for item in by_kind["ConfigMap"]
        }[container["envFrom"][0]["configMapRef"]["name"]]

        resources = container["resources"]
        cores = resources["limits"]["cpu"]
        expect(cores == resources["requests"]["cpu"] == config["POUNCE_WORKERS"], f"{name}: workers are not the cores")
        memory = resources["limits"]["memory"]
        expect(memory == resources["requests"]["memory"], f"{name}: memory may be taken away")

        drain = int(config["POUNCE_DRAIN_NOTICE"]) + int(config["POUNCE_DRAIN_TIMEOUT"])
        grace = pod["spec"]["terminationGracePeriodSeconds"]
        expect(drain + GRACE_ROOM_SECONDS <= grace, f"{name}: a drain of {drain} s does not fit into {grace} s")
        probe = container["readinessProbe"]
        off = probe["periodSeconds"] * probe["failureThreshold"]
        expect(off < int(config["POUNCE_DRAIN_NOTICE"]), f"{name}: endpoints are updated after the notice is over")

        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for variable, port in (("POUNCE_GRPC_ADDR", "grpc"), ("POUNCE_HTTP_ADDR", "http")):
            expect(config[variable] == f"0.0.0.0:{ports[port]}", f"{name}: {variable} is not the port {port}")
        tls = "POUNCE_TLS_CERT" in config
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            expect(("grpc" in container[probe]) != tls, f"{name}: {probe} must be gRPC exactly without TLS")

        if bridge := deployments.get("pounce-bridge"):
            bridges_agree(name, bridge, objects(file, "ConfigMap"))
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        for variable, value in config.items():
            if value.startswith("/") and variable != "POUNCE_MODEL":
                expect(any(value.startswith(mount) for mount in mounts), f"{name}: nothing is mounted at {variable}")
        expect(not any("KEY-----" in value or "secret" in value.lower() for value in config.values()), "a secret is in the environment")

        selected = [(item, item["spec"]["selector"]) for item in by_kind["Service"]]
        selected += [(item, item["spec"]["selector"]["matchLabels"]) for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor") for item in by_kind.get(kind, [])]
        for item, selector in selected:
            component = item["metadata"]["labels"].get("app.kubernetes.io/component", "server")
            expect(selector == SELECTORS[component], f"{name}: {item['metadata']['name']} selects {selector}")
        for stateful in by_kind.get("StatefulSet", []):
            expect(SELECTORS["nats"].items() <= stateful["spec"]["template"]["metadata"]["labels"].items(), f"{name}: the pods of NATS miss the selector")
            nats_agrees(name, stateful, config, objects(file, "ConfigMap"))
            for claim in stateful["spec"]["volumeClaimTemplates"]:
                changing = "app.kubernetes.io/version" in claim["metadata"].get("labels", {})
                expect(not changing, f"{name}: a claim's template has a label that changes, and can't be updated")
        expect(SELECTORS["server"].items() <= pod["metadata"]["labels"].items(), f"{name}: the pods miss the selector")
        for item in [*objects(file), *(item["spec"]["template"] for item in deployments.values())]:
            labels = item["metadata"].get("labels", {})
            lacking = [label for label in RECOMMENDED if f"app.kubernetes.io/{label}" not in labels]
            # What an overlay of somebody's own adds to production has the labels that it gives.
            expect(not lacking or name.startswith("own"), f"{name}: {item.get('kind', 'pod')} lacks the labels {lacking}")
        scalers = by_kind.get("HorizontalPodAutoscaler", []) + by_kind.get("ScaledObject", [])
        for item in deployments.values():
            own = [scaler for scaler in scalers if scaler["spec"]["scaleTargetRef"]["name"] == item["metadata"]["name"]]
            expect(len(own) == ("replicas" not in item["spec"]), f"{name}: {item['metadata']['name']} has {len(own)} autoscalers")
    return f"{', '.join(files)}: workers, drain, ports, probes, mounts, selectors, labels, autoscalers"


def render_chart(folder: Path) -> dict[str, Path]:
    """The Helm chart as the overlays of the same names."""
    files = {}
    with helm_python.Chart.load(CHART) as chart:
        for name, values in CHART_VALUES.items():
            namespace = f"pounce-{name}" if name == "dev" else "pounce"
            given = yaml.safe_load(values.read_text()) if values else {}
            rendered = chart.render(given, name=namespace, namespace=namespace)
            files[f"{name} by Helm"] = folder / f"helm-{name}.yaml"
            manifests = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
            files[f"{name} by Helm"].write_text("\n---\n".join(manifests))
    return files


def chart_lints() -> str:
    """helm lint --strict, and values that the schema must refuse."""
    lines = []
    for name, values in CHART_VALUES.items():
        given = yaml.safe_load(values.read_text()) if values else None
        report = helm_python.lint(CHART, given, strict=True)
        worst = max((message["severity"] for message in report["messages"]), default=0)
        expect(not report["errors"] and worst <= LINT_INFO, f"{name}: {report}")
        lines.append(f"{name} is clean")
    refused = [{"workers": 0}, {"memory": "1 GB"}, {"config": {"POUNCE_WORKERS": 4}}, {"replica": 3}]
    with helm_python.Chart.load(CHART) as chart:
        for values in refused:
            try:
                chart.validate_schema(values)
            except helm_python.HelmValuesError:
                continue
            raise Wrong(f"the schema takes {values}")
        linked = chart.render({"monitoring": {"runbook": "https://wiki.example/runbook"}}, name="pounce")
        rules = linked["pounce/templates/monitoring.yaml"]
        expect("runbook_url: https://wiki.example/runbook#" in rules and "runbook_url: docs/" not in rules, "links of the runbook stay")
    return f"{', '.join(lines)}; {len(refused)} bad values are refused"


def chart_agrees(files: dict[str, Path]) -> str:
    """Objects of chart and overlay are the same, but for what each tool adds of its own."""
    compared = 0
    for name in CHART_VALUES:
        ours, theirs = (comparable(objects(files[which])) for which in (name, f"{name} by Helm"))
        expect(ours.keys() == theirs.keys(), f"{name}: only one has {ours.keys() ^ theirs.keys()}")
        for key, item in ours.items():
            lost = [*missing(item, theirs[key]), *missing(theirs[key], item)]
            other = [path for path in differing(item, theirs[key])]
            expect(not lost and not other, f"{name}: {' '.join(key)} differs in {lost + other}")
            compared += 1
    return f"{compared} objects are those of the overlays"


def comparable(every: list[dict]) -> dict[tuple[str, str], dict]:
    """Objects by kind and name, without namespaces, hashes of content, and labels of the tool."""
    kept = {}
    for item in every:
        if item["kind"] == "Namespace":
            continue
        # Kustomize names a ConfigMap by its content; Helm notes that in an annotation of the pods.
        text = re.sub(r"\b(pounce-(?:config|alerts))-[a-z0-9]{10}\b", r"\1", json.dumps(item))
        item = json.loads(text)
        pods = item["spec"]["template"]["metadata"] if item["kind"] == "Deployment" else {}
        pods.pop("annotations", None)
        for labels in (item["metadata"].get("labels", {}), pods.get("labels", {})):
            for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
                labels.pop(label, None)
        kept[item["kind"], item["metadata"]["name"]] = in_order(item)
    return kept


def in_order(value: object) -> object:
    """Lists of named things by name: their order means nothing."""
    if isinstance(value, dict):
        return {key: in_order(inner) for key, inner in value.items()}
    if isinstance(value, list):
        inner = [in_order(item) for item in value]
        named = all(isinstance(item, dict) and "name" in item for item in inner)
        return sorted(inner, key=lambda item: item["name"]) if named else inner
    # A text block may or may not end its last line.
    return value.rstrip("\n") if isinstance(value, str) else value


def differing(one: object, other: object, path: str = "") -> Iterator[str]:
    """Paths that both have, with other values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() & other.keys():
            yield from differing(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differing(*pair, f"{path}[{index}]")
    elif one != other:
        yield f"{path}: {one!r} is not {other!r}"


def nats_agrees(name: str, stateful: dict, pounce: dict, configs: list[dict]) -> None:
    """Of three servers of NATS: files, room for what Pounce asks, and TLS on both ends or on neither."""
    container = stateful["spec"]["template"]["spec"]["containers"][0]
    own = {item["name"]: item for item in stateful["spec"]["template"]["spec"]["volumes"]}["config"]["configMap"]["name"]
    files = next(item["data"] for item in configs if item["metadata"]["name"] == own)
    text = "\n".join(files.values())
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for file in re.findall(r"_file\W+(/\S+?)\"?,?$", text, re.MULTILINE):
        expect(str(Path(file).parent) in mounts, f"{name}: nothing is mounted at {file}")
    kept = int(re.search(r"max_file_store\W+(\d+)GB", text)[1])
    asked = int(pounce["POUNCE_OBSERVATIONS_BYTES_MAX"]) * 3 / 2
    claim = stateful["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]
    volume = int(claim.removesuffix("Gi"))
    expect(asked < kept * 2**30 and kept < volume, f"{name}: log and snapshots of {asked:.0f} bytes, {kept} GB, {claim}")
    expect(stateful["spec"]["replicas"] == int(pounce["POUNCE_OBSERVATIONS_COPIES"]), f"{name}: copies and servers differ")
    tls = "cert_file" in text
    expect(pounce["POUNCE_OBSERVATIONS"] == f"{'tls' if tls else 'nats'}://pounce-nats:4222", f"{name}: TLS at one end")
    expect(("verify" in text) == tls, f"{name}: anybody with a certificate could be a server")


def nats_chart(folder: Path, files: dict[str, Path]) -> str:
    """The values for NATS's own chart give what the component nats-tls gives."""
    chart = os.environ.get("NATS_CHART") or fetched_chart(folder)
    if not chart:
        return f"not checked: {NATS_CHART} can't be fetched; NATS_CHART names a folder that has it"
    with helm_python.Chart.load(chart) as loaded:
        values = yaml.safe_load((K8S / "components/nats-client/nats-chart.yaml").read_text())
        rendered = loaded.render(values, name="pounce-nats", namespace="pounce")
    file = folder / "nats-chart.yaml"
    manifests = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml") and "/tests/" not in path]
    file.write_text("\n---\n".join(manifests))
    theirs = {(item["kind"], item["metadata"]["name"]): item for item in objects(file)}
    client = files["production with a NATS elsewhere"]
    pounce = next(item["data"] for item in objects(client, "ConfigMap") if "POUNCE_OBSERVATIONS" in item["data"])
    stateful = theirs["StatefulSet", "pounce-nats"]
    nats_agrees("NATS's chart", stateful, pounce, objects(file, "ConfigMap"))
    for kind, selector in (("StatefulSet", "selector"), ("PodDisruptionBudget", "selector")):
        chosen = theirs[kind, "pounce-nats"]["spec"][selector]["matchLabels"]
        expect(SELECTORS["nats"].items() <= chosen.items(), f"NATS's chart: {kind} selects {chosen}")
    ours = objects(files["production with NATS and TLS"])
    services = {item["metadata"]["name"] for item in ours if item["kind"] == "Service" and "nats" in item["metadata"]["name"]}
    expect(services == {name for kind, name in theirs if kind == "Service"}, "NATS's chart: other names than the certificate has")
    mine = next(item for item in ours if item["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    pod = stateful["spec"]["template"]["spec"]
    expect(pod["securityContext"] == mine["securityContext"], "NATS's chart: the pods have other rights")
    image = pod["containers"][0]["image"]
    expect(mine["containers"][0]["image"].endswith(f"/{image}"), f"NATS's chart: the image is {image}")
    for container in pod["containers"]:
        expect(container["securityContext"] == mine["containers"][0]["securityContext"], "NATS's chart: other rights")
    passed = run("kubernetes-validate", "--strict", file).count("INFO")
    return f"{passed} objects, with the names, sizes and rights of the component"


def fetched_chart(folder: Path) -> Path | None:
    """NATS's chart from its release, where that can be reached."""
    try:
        with urllib.request.urlopen(NATS_CHART, timeout=20) as answer:
            tarfile.open(fileobj=io.BytesIO(answer.read())).extractall(folder, filter="data")
    except OSError:
        return None
    return folder / "nats"


def bridges_agree(name: str, bridge: dict, configs: list[dict]) -> None:
    """Of the bridges: port, files, selector and the time to stop."""
    pod = bridge["spec"]["template"]
    container = pod["spec"]["containers"][0]
    reference = container["envFrom"][0]["configMapRef"]["name"]
    config = next(item["data"] for item in configs if item["metadata"]["name"] == reference)
    port = container["ports"][0]["containerPort"]
    expect(config["POUNCE_BRIDGE_HTTP_ADDR"] == f"0.0.0.0:{port}", f"{name}: the bridge's address is not its port")
    room = pod["spec"]["terminationGracePeriodSeconds"] - int(config["POUNCE_BRIDGE_DRAIN_TIMEOUT"])
    expect(room >= GRACE_ROOM_SECONDS, f"{name}: a bridge is killed while it stops")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for variable, value in config.items():
        if value.startswith("/"):
            expect(any(value.startswith(mount) for mount in mounts), f"{name}: nothing is mounted at {variable}")
    expect(SELECTORS["bridge"].items() <= pod["metadata"]["labels"].items(), f"{name}: the bridge's pods miss the selector")


def no_common_labels() -> str:
    """commonLabels would write itself into selectors."""
    kustomizations = list(K8S.rglob("kustomization.yaml"))
    for path in kustomizations:
        expect("commonLabels" not in yaml.safe_load(path.read_text()), f"{path}: commonLabels")
    return f"{len(kustomizations)} kustomizations"


# --- rules, dashboard, runbook ---------------------------------------------------------


def rules(folder: Path) -> str:
    """promtool: the rules as Prometheus reads them."""
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(expressions.rule_groups(), sort_keys=False))
    return run("promtool", "check", "rules", "--lint=all", "--lint-fatal", file).split("SUCCESS: ")[1].strip()


def rule_tests(folder: Path) -> str:
    """promtool: each alert fires, does not fire and resolves."""
    tests = sorted((K8S / "tests").glob("*.yaml"))
    for test in tests:
        shutil.copy(test, folder)
        run("promtool", "test", "rules", folder / test.name)
    quiet, resolves = set(), set()
    for test in (item for path in tests for item in yaml.safe_load(path.read_text())["tests"]):
        fired: set[str] = set()
        # In the order of time, in which they are written.
        for case in test.get("alert_rule_test", []):
            name = case["alertname"]
            if case["exp_alerts"]:
                fired.add(name)
            else:
                (resolves if name in fired else quiet).add(name)
    names = {rule["alert"] for rule in expressions.rules() if "alert" in rule}
    expect(names == resolves == quiet, f"not tested to resolve: {names - resolves}; not to fire: {names - quiet}")
    return f"{len(names)} alerts fire, do not fire, and resolve"


def runbook() -> str:
    """Each alert says what it must, and has its section; each section has its alert."""
    text = (ROOT / "docs/runbook.md").read_text()
    sections = re.findall(r"^## (Pounce\w+)$", text, re.MULTILINE)
    alerts = [rule for rule in expressions.rules() if "alert" in rule]
    for rule in alerts:
        name, notes = rule["alert"], rule["annotations"]
        expect(notes["summary"] and notes["description"], f"{name} says too little")
        expect(rule["labels"]["severity"] in ("critical", "warning"), f"{name} has no severity")
        expect(notes["runbook_url"] == f"docs/runbook.md#{name.lower()}", f"{name}: {notes['runbook_url']}")
    expect(sorted(sections) == sorted({rule["alert"] for rule in alerts}), f"sections of the runbook: {sections}")
    return f"{len(sections)} sections"


def panels() -> str:
    """The dashboard is what its source says, and nothing lies on anything else."""
    made = dashboard.dashboard()
    expect(json.loads(expressions.DASHBOARD.read_text()) == made, "run: k8s/dashboard.py > k8s/components/monitoring/dashboard.json")
    expect(made["schemaVersion"] >= 39, "schema too old")
    variables = {item["name"] for item in made["templating"]["list"]}
    expect({"datasource", "topic"} <= variables, "variables are missing")
    used = set(re.findall(r"\$\{(?!_)(\w+)\}", json.dumps(made)))
    expect(used <= variables, f"{used - variables} are no variables")
    first = [panel["type"] for panel in made["panels"][1:6]]
    expect(first == ["stat"] * 5, f"the first row has {first}")
    taken: set[tuple[int, int]] = set()
    for panel in made["panels"]:
        inside: set[tuple[int, int]] = set()
        for inner in panel.get("panels", []):
            cells = of_panel(inner)
            expect(not cells & inside, f"{inner['title']} overlaps in its row")
            inside |= cells
    for panel in expressions.panels(made):
        if panel["type"] != "row":
            expect(panel["description"].endswith("."), f"{panel['title']} has no description")
            expect(panel["fieldConfig"]["defaults"]["unit"], f"{panel['title']} has no unit")
            expect(max(x for x, _ in of_panel(panel)) < dashboard.GRID_WIDTH, f"{panel['title']} is too wide")
    for panel in made["panels"]:
        cells = of_panel(panel)
        expect(not cells & taken, f"{panel['title']} overlaps")
        taken |= cells
    identities = [panel["id"] for panel in expressions.panels(made)]
    expect(len(set(identities)) == len(identities), "ids are taken twice")
    return f"{len(identities)} panels and rows"


def of_panel(panel: dict) -> set[tuple[int, int]]:
    """The cells of the grid that a panel takes."""
    place = panel["gridPos"]
    return {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}


def queries(folder: Path) -> str:
    """promtool parses what the dashboard and the autoscalers ask."""
    asked = expressions.of_dashboard() + expressions.of_autoscalers()
    recorded = [{"record": f"query_{number}", "expr": query.text} for number, query in enumerate(asked)]
    file = folder / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))
    run("promtool", "check", "rules", "--lint=none", file)
    return f"{len(asked)} expressions"


def compose() -> str:
    """compose.yaml has the rules, the dashboard and the binary that the manifests have."""
    text = COMPOSE_RULES_HEAD + yaml.safe_dump(expressions.rule_groups(), sort_keys=False, allow_unicode=True)
    if "--write" in sys.argv:
        COMPOSE_RULES.write_text(text)
    expect(COMPOSE_RULES.read_text() == text, "compose/rules.yaml is out of date: k8s/check --write")
    run("promtool", "check", "config", "--syntax-only", ROOT / "compose/prometheus.yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    missing = [path for path in mounted if not (ROOT / path).exists()]
    expect(not missing, f"compose.yaml mounts what is not there: {missing}")
    return ", ".join(services)


def main() -> None:
    """Runs every check, and fails if one did."""
    failed = 0
    done = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files: dict[str, Path] = {}

        def rendered() -> str:
            files.update(render(folder) | render_chart(folder))
            return ", ".join(files)

        checks: list[tuple[str, Callable[[], str]]] = [
            ("hadolint: Dockerfile", lambda: run("hadolint", "Dockerfile") or "clean"),
            ("kubectl kustomize, helm template", rendered),
            ("kubernetes-validate", lambda: built_in_kinds(files)),
            ("custom resources", lambda: custom_kinds(files)),
            ("checkov", lambda: security(files)),
            ("manifests agree", lambda: consistent(files)),
            ("no commonLabels", no_common_labels),
            ("helm lint", chart_lints),
            ("Helm chart agrees", lambda: chart_agrees(files)),
            ("NATS's own chart", lambda: nats_chart(folder, files)),
            ("promtool check rules", lambda: rules(folder)),
            ("promtool test rules", lambda: rule_tests(folder)),
            ("runbook", runbook),
            ("dashboard", panels),
            ("promtool parses queries", lambda: queries(folder)),
            ("compose", compose),
        ]
        for name, check in checks:
            try:
                print(f"ok    {name}: {check()}", flush=True)
                done += 1
            # A check that can't finish has failed, and the others still run.
            except Exception as fault:
                print(f"FAIL  {name}: {fault if isinstance(fault, Wrong) else repr(fault)}", flush=True)
                failed += 1
    print(f"{done} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
