"""The page of metrics, read by a strict parser that is not payonce's: the field's own for Python."""

import json
import re
import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

from conftest import ROOT
from processes import Process, get, until

UNITS = ("seconds", "bytes", "ratio")


@pytest.fixture(scope="module")
def health(payonce, tmp_path_factory):
    """The health port of a payonce that has charged once, and refused once."""
    env = {f"PAYONCE_LISTEN__{name}": "127.0.0.1:0" for name in ["PROXY", "ADMIN", "HEALTH"]}
    env["PAYONCE_LOG__FORMAT"] = "json"
    process = Process([payonce, "serve", "--sandbox"], tmp_path_factory.mktemp("metrics"), "payonce", env)
    try:
        process.until_said("policy is in force")
        said = [json.loads(line) for line in process.said().splitlines()]
        at = {line["message"]: f"http://{line['address']}" for line in said if "address" in line}
        body = b"amount=500&currency=usd&source=tok_visa"
        headers = {"Authorization": "Bearer sk_test_of_this_test_alone"}
        charge = urllib.request.Request(at["proxy listens"] + "/v1/charges", body, headers)
        with urllib.request.urlopen(charge, timeout=30) as answer:
            assert answer.status == 200
        assert get(at["proxy listens"] + "/v1//charges")[0] >= 400
        health = at["health and metrics listen"]
        # What is known once the answer has arrived, and the store was asked what is open.
        wanted = ['delivered="yes"', 'payonce_open_operations{rule="charges"']
        until("a delivery and a survey", lambda: all(it in get(health + "/metrics")[1] for it in wanted))
        yield health
    finally:
        process.child.kill()
        process.child.wait()


def scrape(health: str, accept: str) -> tuple[str, str]:
    """The page's type, and the page."""
    request = urllib.request.Request(health + "/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["content-type"], answer.read().decode()


def test_the_page_is_valid_open_metrics_with_units(health):
    kind, page = scrape(health, "application/openmetrics-text; version=1.0.0")
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = list(open_metrics(page))
    assert page.endswith("\n# EOF\n") and len(families) > 50
    for family in families:
        assert family.type in ("counter", "gauge", "histogram") and family.documentation, family
        ending = family.name.rsplit("_", 1)[-1]
        assert family.unit == (ending if ending in UNITS else ""), family.name


def test_the_older_form_says_the_same(health):
    kind, page = scrape(health, "text/plain;version=0.0.4")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    older = {family.name: family.type for family in classic(page)}
    newer = {family.name: family.type for family in open_metrics(scrape(health, "*/*")[1])}
    assert older == newer


def test_what_a_running_payonce_shows_is_on_the_list(health):
    listed = set(re.findall(r"^\| `(\w+)`", (ROOT / "deploy/metrics.md").read_text(), re.MULTILINE))
    families = open_metrics(scrape(health, "*/*")[1])
    shown = {each.name + ("_total" if each.type == "counter" else "") for each in families}
    assert shown == listed
