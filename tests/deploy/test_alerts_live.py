"""Every expression of the alerts and of the dashboard, asked of a real Prometheus after a bad day."""

import re
import subprocess
import urllib.request

import pytest

from conftest import ROOT
from processes import until
from promql import alerts, asked_by, panels, rules, selectors
from scene import Day

# What the day brought about, and no more than that. Those that wait (`for`) do not fire so soon.
RAISED = {
    "PayonceAlarm",
    "PayonceAuditLogFailing",
    "PayonceConflictAtStripe",
    "PayonceConflicts",
    "PayonceCredentialRefused",
    "PayonceDegraded",
    "PayonceLedgerErrors",
    "PayonceLimitReached",
    "PayonceOperationsForgotten",
    "PayoncePolicyRefused",
    "PayonceRecordIncomplete",
    "PayonceRetryBudgetEmpty",
    "PayonceSdkOutdated",
    "PayonceStoreEvicts",
    "PayonceStoreFailedOver",
    "PayonceStoreForgot",
    "PayonceWebhookSecretsUnreadable",
    "PayonceWebhooksUnverified",
}

# What cannot be brought about in a minute, on this machine, and is rightly not there.
NOT_THERE = {
    "payonce_finishing_attempts_total": "the first comes a minute after a doubt",
}


@pytest.fixture(scope="module")
def day(payonce, tmp_path_factory):
    """The day, when it is over."""
    with Day(payonce, tmp_path_factory.mktemp("day")) as day:
        day.happen()
        yield day


def series(expression: str) -> set[str]:
    """The selectors of an expression, without those that are rightly not there."""
    return {each for each in selectors(expression) if not any(no in each for no in NOT_THERE)}


def there(day, selector: str) -> bool:
    """Whether Prometheus ever saw such a series."""
    return bool(day.prometheus.query(f"last_over_time({selector}[10m])"))


def test_every_rule_is_evaluated_without_an_error(day):
    groups = day.prometheus.api("rules")["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    assert [r["name"] for r in evaluated if r["health"] != "ok" or r.get("lastError")] == []


def shown(day) -> set[str]:
    """The names of all metrics, and of what makes up a histogram its own."""
    names = day.prometheus.api("label/__name__/values")
    return {*names, *[re.sub("_(bucket|count|sum)$", "", name) for name in names]}


def test_what_payonce_shows_is_what_promtool_calls_good(day):
    for pod in [day.a, day.b, day.c]:
        request = urllib.request.Request(
            f"http://{pod.target()}/metrics", headers={"Accept": "text/plain"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        checked = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
        )
        assert (checked.returncode, checked.stderr + checked.stdout) == (0, b"")


def test_every_metric_that_the_runbook_and_the_panels_name_exists(day):
    texts = [(ROOT / "deploy/runbook.md").read_text(), *[panel["description"] for panel in panels()]]
    codes = set(re.findall(r'"(payonce_\w+)"', (ROOT / "src/refusal/form.rs").read_text()))
    named = {name for text in texts for name in re.findall(r"\b(?:payonce|process|http)_[a-z_]+", text)}
    missing = {name for name in named - codes - shown(day) if name not in NOT_THERE}
    assert missing == set()


def test_the_day_raises_the_alerts_that_it_should_and_no_others(day):
    def raised():
        return {alert["labels"]["alertname"] for alert in day.prometheus.api("alerts")["alerts"]}

    # Rules are evaluated once a second, those that record and those that alert apart.
    until(lambda: RAISED - raised(), lambda: raised() >= RAISED)
    assert raised() == RAISED


def test_every_text_of_an_alert_that_was_raised_is_filled_in(day):
    for alert in day.prometheus.api("alerts")["alerts"]:
        text = " ".join(alert["annotations"].values())
        assert "<no value>" not in text and "{{" not in text and "%!" not in text, text


@pytest.mark.parametrize("name", alerts())
def test_an_alert_asks_for_series_that_a_payonce_shows(day, name):
    expression = alerts()[name]["expr"]
    day.prometheus.query(expression)
    assert [each for each in sorted(series(expression)) if not there(day, each)] == []


@pytest.mark.parametrize("rule", [r["record"] for r in rules() if "record" in r])
def test_a_recording_rule_asks_for_series_that_a_payonce_shows(day, rule):
    (expression,) = [each["expr"] for each in rules() if each.get("record") == rule]
    assert [each for each in sorted(series(expression)) if not there(day, each)] == []


@pytest.mark.parametrize("title", [panel["title"] for panel in panels()])
def test_a_panel_shows_something(day, title):
    (panel,) = [each for each in panels() if each["title"] == title]
    empty = [each for each in asked_by(panel) if not day.prometheus.query(each) and series(each)]
    assert empty == []
