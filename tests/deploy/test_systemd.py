"""The unit file, as systemd's own tools judge it."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import urllib.request

from conftest import ROOT
from processes import Payonce, Sandbox, get

FILES = ROOT / "deploy/systemd"
# Out of 100, less is better; systemd calls up to 20 "OK". What remains is what a proxy needs: the
# network, and Internet addresses that nobody can list.
MOST_EXPOSURE = 15
WHERE = "/usr/local/bin/payonce"


def installed(payonce, folder):
    """The unit with a binary that is there: `verify` looks for it."""
    text = (FILES / "payonce.service").read_text()
    assert text.count(f"ExecStart={WHERE} ") == 1
    unit = folder / "payonce.service"
    unit.write_text(text.replace(f"ExecStart={WHERE} ", f"ExecStart={payonce} "))
    return unit


def test_systemd_verifies_the_unit_without_a_warning(payonce, tmp_path):
    asked = ["systemd-analyze", "verify", "--man=no", installed(payonce, tmp_path)]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    mine = [line for line in said.stderr.splitlines() if "payonce" in line]
    assert said.returncode == 0, said.stderr
    assert not mine


def test_the_unit_is_exposed_to_little(payonce, tmp_path):
    unit = installed(payonce, tmp_path)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    asked = [*command, f"--threshold={MOST_EXPOSURE}", unit]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout


def test_a_unit_without_its_hardening_would_not_pass(payonce, tmp_path):
    unit = installed(payonce, tmp_path)
    lines = unit.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("Protect", "System"))]
    unit.write_text("\n".join(kept))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    asked = [*command, f"--threshold={MOST_EXPOSURE}", unit]
    assert subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode != 0


def test_the_drain_fits_into_the_time_to_stop():
    unit = (FILES / "payonce.service").read_text()
    settings = (ROOT / "config/payonce.toml").read_text()
    assert "\nTimeoutStopSec=90\n" in unit
    assert '\ndrain = "75s"\n' in settings


def test_payonce_takes_the_settings_that_come_with_it(payonce, tmp_path):
    text = (FILES / "payonce.toml").read_text()
    # The unit lets it write into its StateDirectory alone.
    assert 'path = "/var/lib/payonce/' in text
    policy = tmp_path / "policy.toml"
    shutil.copy(ROOT / "config/policy.toml", policy)
    settings = tmp_path / "payonce.toml"
    settings.write_text(text.replace("/etc/payonce/policy/policy.toml", str(policy)))
    asked = [payonce, "check", "--settings", settings]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def installs(tmp_path, payonce):
    """The commands of the unit's head, done below `tmp_path` to the files that they name."""
    head = (FILES / "payonce.service").read_text().partition("[Unit]")[0]
    commands = re.findall(r"^#   install (?:-D )?-m (\d+) (\S+) (/\S+)$", head, re.MULTILINE)
    assert len(commands) == 4
    for mode, source, target in commands:
        # The binary that the tests have, in the place of a release.
        source = payonce if source == "target/release/payonce" else ROOT / source
        at = tmp_path / target.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, at)
        at.chmod(int(mode, 8))
    return tmp_path / "etc/payonce/payonce.toml"


def test_what_the_head_says_is_installed_runs_and_is_asked_from_any_folder(payonce, tmp_path):
    settings = installs(tmp_path, payonce)
    state = tmp_path / "var/lib/payonce"
    state.mkdir(parents=True)
    elsewhere = tmp_path / "root"
    elsewhere.mkdir()
    head = (FILES / "payonce.service").read_text().partition("[Unit]")[0]
    (asked,) = re.findall(r"^#   payonce (ops list --settings) (\S+)$", head, re.MULTILINE)
    assert asked[1] == "/etc/payonce/payonce.toml"
    text = settings.read_text()
    for prefix in ["/etc/payonce/", "/var/lib/payonce/"]:
        text = text.replace(f'"{prefix}', f'"{tmp_path}{prefix}')
    settings.write_text(text)
    policy = tmp_path / "etc/payonce/policy/policy.toml"
    version = hashlib.sha256(policy.read_bytes()).hexdigest()[:12]
    with Payonce(tmp_path / "usr/local/bin/payonce", settings, state) as running:
        assert f"policy: version {version}" in get(f"{running.health}/readyz")[1]
        said = subprocess.run(
            [payonce, *asked[0].split(), settings],
            capture_output=True,
            text=True,
            timeout=60,
            env=running.variables,
            cwd=elsewhere,
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr


def test_the_settings_that_the_head_warns_of_end_with_64(payonce, tmp_path):
    asked = [payonce, "serve", "--settings", ROOT / "config/payonce.toml"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert said.returncode == 64, said.stderr
    assert "single_instance" in said.stderr


def system_calls(group):
    """What systemd means by a group such as @system-service."""
    asked = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    members = [line.strip() for line in said.stdout.splitlines()[1:]]
    calls = {call for call in members if not call.startswith(("@", "#"))}
    return calls.union(*(system_calls(each) for each in members if each.startswith("@")))


def test_the_filter_leaves_payonce_every_system_call_that_it_makes(payonce, tmp_path):
    """From start to drain, with a payment in between; the filter's groups are systemd's own."""
    first, second = [
        line.removeprefix("SystemCallFilter=")
        for line in (FILES / "payonce.service").read_text().splitlines()
        if line.startswith("SystemCallFilter=")
    ]
    assert second.startswith("~")
    kept_out = set().union(*(system_calls(group) for group in second[1:].split()))
    allowed = system_calls(first) - kept_out

    settings, trace = tmp_path / "payonce.toml", tmp_path / "trace"
    settings.write_text("[store]\nsingle_instance = true\n")
    traced = tmp_path / "traced"
    traced.write_text(f'#!/bin/sh\nexec strace -f -c -U name -o {trace} {payonce} "$@"\n')
    traced.chmod(0o755)
    with Sandbox(payonce, tmp_path) as sandbox:
        running = Payonce(traced, settings, tmp_path, **sandbox.variables())
        with running:
            request = urllib.request.Request(
                f"{running.proxy}/v1/charges",
                data=b"amount=500&currency=usd&source=tok_visa",
                headers={"Authorization": "Bearer sk_test_x"},
            )
            assert urllib.request.urlopen(request, timeout=60).status == 200
            tracer = running.child.pid
            children = pathlib.Path(f"/proc/{tracer}/task/{tracer}/children").read_text()
            (child,) = children.split()
            os.kill(int(child), signal.SIGTERM)
            assert running.child.wait(60) == 0
    lines = trace.read_text().splitlines()
    made = {line.split()[0] for line in lines if line[:1].isalpha()} - {"syscall", "total"}
    assert {"accept4", "connect", "epoll_wait"} <= made, made
    assert made <= allowed, made - allowed
