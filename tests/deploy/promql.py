"""What alerts and panels ask for, taken from their files; and which series an expression names."""

import functools
import json
import re

import yaml

from conftest import ROOT

ALERTS = ROOT / "deploy/alerts/payonce.rules.yaml"
DASHBOARD = ROOT / "deploy/dashboard/payonce.json"

# What Grafana puts in for its variables.
VARIABLES = {
    "$namespace": ".*",
    "$job": ".*",
    "$instance": ".*",
    "$__rate_interval": "1m",
    "$__range": "5m",
}
LABELS = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)")
STRING = r'"(?:[^"\\]|\\.)*"'
SELECTOR = re.compile(
    r"(?<![\w:])((?:payonce|process|http)[\w:]*|up)(?![\w:(])"
    rf"(\{{(?:[^{{}}\"]|{STRING})*\}})?"
)


@functools.cache
def rules() -> list[dict]:
    """All rules, in order."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@functools.cache
def panels() -> list[dict]:
    """The dashboard's panels that show something."""
    return [each for each in json.loads(DASHBOARD.read_text())["panels"] if each["type"] != "row"]


def asked_by(panel: dict) -> list[str]:
    """The panel's expressions, as Prometheus gets them."""
    return [filled(target["expr"]) for target in panel["targets"]]


def filled(expression: str) -> str:
    """An expression with Grafana's variables filled in."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def selectors(expression: str) -> set[str]:
    """Each metric that is named, with the labels that it is asked for by."""
    found = SELECTOR.findall(LABELS.sub("", expression))
    return {name + labels for name, labels in found}
