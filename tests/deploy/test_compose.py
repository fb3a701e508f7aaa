"""compose.yaml, read by Compose; and its services, run as the processes that they are.

No Docker engine is here: what the containers' walls do (read-only roots, networks, users) is not
tried. Commands, settings, variables, secrets and the order are.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from conftest import ROOT
from processes import Process, free_port, get, until

FILES = ROOT / "deploy/compose"


@pytest.fixture
def folder(tmp_path):
    """A copy with secrets, beside what it refers to."""
    for name in ["deploy/compose", "deploy/redis", "config"]:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("secrets"))
    compose = tmp_path / "deploy/compose"
    subprocess.run([compose / "make-secrets"], check=True, timeout=60)
    return compose


def compose_command():
    """Docker's plugin, or Debian's docker-compose."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def test_compose_understands_it(folder):
    asked = [*compose_command(), "--file", folder / "compose.yaml", "config", "--quiet"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    assert said.returncode == 0, said.stderr
    assert not said.stderr.strip(), said.stderr


def test_compose_refuses_a_misspelt_key(folder):
    file = folder / "compose.yaml"
    file.write_text(file.read_text().replace("read_only:", "readonly:", 1))
    asked = [*compose_command(), "--file", file, "config", "--quiet"]
    assert subprocess.run(asked, capture_output=True, cwd=folder, check=False).returncode != 0


def test_every_service_is_shut_in():
    for name, service in yaml.safe_load((FILES / "compose.yaml").read_text())["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        published = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in published), name


def test_secrets_are_made_once_and_belong_together(folder):
    secrets = {p.name: p.read_text() for p in (folder / "secrets").iterdir()}
    named = yaml.safe_load((FILES / "compose.yaml").read_text())["secrets"]
    assert {f"secrets/{name}" for name in secrets} == {s["file"] for s in named.values()}
    assert f">{secrets['redis-password']} " in secrets["redis-users"]
    subprocess.run([folder / "make-secrets"], check=True, timeout=60)
    assert secrets == {p.name: p.read_text() for p in (folder / "secrets").iterdir()}
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700


def test_its_services_together_charge_each_order_once(folder, payonce, tmp_path):
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    ports = {name: free_port() for name in ["redis", "sandbox", "proxy", "admin", "health"]}
    # The containers' file system and names, as this machine has them; nothing else is changed.
    here = {
        "/etc/redis/": f"{tmp_path}/deploy/redis/",
        "/run/secrets/": f"{folder}/secrets/",
        "dir /data": f"dir {tmp_path}",
        "redis://redis:6379": f"redis://127.0.0.1:{ports['redis']}",
        "http://sandbox:12111": f"http://127.0.0.1:{ports['sandbox']}",
        "0.0.0.0:12111": f"127.0.0.1:{ports['sandbox']}",
        "/etc/payonce/payonce.toml": f"{folder}/payonce.toml",
        "/etc/payonce/policy/": f"{tmp_path}/config/",
        "http://127.0.0.1:8420": f"http://127.0.0.1:{ports['proxy']}",
        "valkey-server": "redis-server",
    }

    def turned(text):
        for there, mine in here.items():
            text = text.replace(there, mine)
        return text

    conf = tmp_path / "deploy/redis/compose.conf"
    conf.write_text(turned((folder / "redis.conf").read_text()) + f"port {ports['redis']}\n")
    settings = folder / "payonce.toml"
    settings.write_text(turned(settings.read_text()))
    command = {name: [turned(w) for w in s.get("command", [])] for name, s in services.items()}
    listen = {
        f"PAYONCE_LISTEN__{name.upper()}": f"127.0.0.1:{ports[name]}"
        for name in ["proxy", "admin", "health"]
    }
    state = tmp_path / "state"
    state.mkdir()
    health = f"http://127.0.0.1:{ports['health']}/readyz"
    books = f"http://127.0.0.1:{ports['sandbox']}/_sandbox/effects"
    with (
        Process(command["redis"], tmp_path, "redis") as redis,
        Process([payonce, *command["sandbox"]], tmp_path, "sandbox"),
        Process([payonce, *command["payonce"]], state, "payonce", listen) as running,
    ):
        redis.until_said("Ready to accept connections")
        until("the sandbox", lambda: get(books)[0] == 200)
        until(running.said, lambda: "store: ok" in get(health)[1])
        # The container's own check, asked as the container's engine would.
        (_, *check) = services["payonce"]["healthcheck"]["test"]
        asked = [payonce, *[turned(word) for word in check[1:]]]
        env = {"PATH": os.environ["PATH"], **listen}
        healthy = subprocess.run(asked, capture_output=True, text=True, env=env, check=False)
        assert healthy.returncode == 0, healthy.stderr

        variables = {k: turned(v) for k, v in services["application"]["environment"].items()}
        said = subprocess.run(
            [sys.executable, folder / "app/charge.py"],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], **variables},
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        assert said.stdout.count("executed") == 3
        assert said.stdout.count("replayed") == 3
        assert len(json.loads(get(books)[1])["effects"]) == 3
        assert "THE STORE MAY FORGET" not in running.said()


def test_the_application_s_packages_are_those_that_are_tried_here():
    wanted = (FILES / "app/requirements.txt").read_text().strip()
    assert wanted in (ROOT / "tests/deploy/deploy.in").read_text().splitlines()
