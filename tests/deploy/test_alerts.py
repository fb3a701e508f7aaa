"""The alerts by promtool, and the runbook by what it names: alerts, commands, metrics, anchors."""

import functools
import re
import shlex
import subprocess

import pytest
import yaml

from conftest import ROOT
from promql import ALERTS, alerts, asked_by, panels, rules, selectors

TESTS = ROOT / "deploy/alerts/payonce.rules.test.yaml"
RUNBOOK = ROOT / "deploy/runbook.md"
TEXT = RUNBOOK.read_text()
HEADINGS = re.findall(r"^#{2,3} (.+)$", TEXT, re.M)


def promtool(*words, **more) -> subprocess.CompletedProcess:
    """What promtool says."""
    return subprocess.run(
        ["promtool", *map(str, words)], capture_output=True, text=True, timeout=300, check=False, **more
    )


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def section(name: str) -> str:
    """The runbook's text under a heading."""
    parts = re.split(r"^#{2,3} (.+)$", TEXT, flags=re.M)
    return parts[parts.index(name) + 1]


def commands() -> list[str]:
    """Every payonce command of the runbook, in code blocks and within lines."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", TEXT, re.M | re.S)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", TEXT, flags=re.M | re.S))
    lines += [span for span in spans if span.startswith("payonce ")]
    found = [re.search(r"(?:^|-- /)(payonce (?!\W).*)", line) for line in lines]
    # Of "payonce has stopped" and the like only what begins with a command is one.
    return sorted({each[1] for each in found if each} - {"payonce has stopped"})


def test_promtool_takes_the_rules():
    said = promtool("check", "rules", ALERTS)
    assert said.returncode == 0, said.stdout + said.stderr


def test_every_alert_fires_when_it_must_and_only_then():
    said = promtool("test", "rules", TESTS)
    assert said.returncode == 0, said.stdout + said.stderr


@functools.cache
def scenarios() -> list[tuple[set, list[set]]]:
    """Of each scenario: the metrics that are there, and the alerts that fire, moment by moment."""
    found = []
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        there = {re.match(r"[\w:]+", each["series"])[0] for each in test["input_series"]}
        moments = [
            {re.search(r'alertname="(\w+)"', sample["labels"])[1] for sample in each["exp_samples"]}
            for each in test["promql_expr_test"]
        ]
        found.append((there, moments))
    return found


@pytest.mark.parametrize("name", alerts())
def test_an_alert_has_a_scenario_in_which_it_fires_and_one_in_which_its_series_raise_nothing(name):
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    named = {re.match(r"[\w:]+", each)[0] for each in selectors(alerts()[name]["expr"])}
    named |= {
        re.match(r"[\w:]+", each)[0]
        for record in named & set(recorded)
        for each in selectors(recorded[record])
    }
    assert any(name in moment for _, moments in scenarios() for moment in moments)
    quiet = [there for there, moments in scenarios() if not any(name in m for m in moments)]
    assert any(named & there for there in quiet)


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name):
    alert = alerts()[name]
    assert set(alert["labels"]) == {"severity", "area"}
    assert alert["labels"]["severity"] in ["page", "ticket"]
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"deploy/runbook.md#{anchor(name)}"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_has_its_section_with_everything_in_it(name):
    text = section(name)
    severity = alerts()[name]["labels"]["severity"].capitalize()
    wanted = [f"*{severity}.*", "**For the money:**", "**Look:**", "**Do:**", "**Do not:**", "**Over:**"]
    assert [each for each in wanted if each not in text] == []


def test_every_section_about_an_alert_has_its_alert():
    sections = [heading for heading in HEADINGS if heading.startswith("Payonce")]
    assert sections == list(alerts()), "the same, and in the same order"


def test_every_link_within_the_runbook_leads_to_a_section():
    anchors = {anchor(heading) for heading in HEADINGS}
    assert [link for link in re.findall(r"\(#([^)]+)\)", TEXT) if link not in anchors] == []


def test_every_file_that_the_runbook_links_to_is_there():
    links = re.findall(r"\]\((?!#|https?:)([^)#]+)", TEXT)
    assert [link for link in links if not (RUNBOOK.parent / link).exists()] == []


def test_the_runbook_names_commands():
    assert len(commands()) > 10


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_runbook_is_one_that_payonce_takes(payonce, command):
    # Everything before `--help` is parsed, and refused if it is not known.
    words = shlex.split(command)[1:]
    asked = [payonce, *words, "--help"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr


def test_a_command_that_payonce_does_not_take_would_be_found(payonce):
    for wrong in [["ops", "resend"], ["ops", "list", "--again"], ["ops", "list", "--limit", "x"]]:
        asked = [payonce, *wrong, "--help"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
        assert said.returncode == 2, wrong


def test_panels_have_a_title_of_their_own_a_unit_and_a_reason():
    titles = [panel["title"] for panel in panels()]
    assert len(titles) == len(set(titles))
    for panel in panels():
        assert len(panel["description"]) > 15, panel["title"]
        assert asked_by(panel)
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_panels_do_not_lie_on_one_another():
    taken = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
