"""The files of deploy/redis, each given to a real server, and what payonce says of that server."""

import json
import re
import subprocess
import urllib.request

import pytest
import yaml

from conftest import ROOT
from processes import Payonce, Process, Sandbox, free_port, get, until

FILES = ROOT / "deploy/redis"
DOUBT = "THE STORE MAY FORGET"
SETTINGS = '[store]\nkind = "redis"\n'
POLICY = 'version = 1\n[[rule]]\nname = "charges"\nmatch = ["POST /v1/charges"]\nclass = "critical"\n'


class Redis(Process):
    """A server with some of the files, on loopback."""

    def __init__(self, folder, *files, more=(), name="redis", text=None):
        self.port = free_port()
        folder = folder / f"{name}-{self.port}"
        folder.mkdir()
        conf = folder / "redis.conf"
        parts = [text or "", *[(FILES / each).read_text() for each in files]]
        conf.write_text("\n".join([*parts, *more, "bind 127.0.0.1", f"port {self.port}", ""]))
        super().__init__(["redis-server", conf], folder, name)
        self.until_said("Ready to accept connections")

    def ask(self, *words):
        """What redis-cli prints."""
        command = ["redis-cli", "-p", str(self.port), *words]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return said.stdout.strip()


def serving(payonce, folder, **env):
    """A payonce on a store, and the sandbox behind it."""
    settings, policy = folder / "payonce.toml", folder / "policy.toml"
    settings.write_text(SETTINGS)
    policy.write_text(POLICY)
    store = {f"PAYONCE_STORE__{name}": value for name, value in env.items()}
    sandbox = Sandbox(payonce, folder)
    variables = {**store, **sandbox.variables(), "PAYONCE_POLICY__PATH": str(policy)}
    return sandbox, Payonce(payonce, settings, folder, **variables)


def charge(running, order):
    """One payment by name; the answer's headers."""
    request = urllib.request.Request(
        f"{running.proxy}/v1/charges",
        data=b"amount=500&currency=usd&source=tok_visa",
        headers={"Authorization": "Bearer sk_test_x", "Payonce-Operation": order},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["status"] == "succeeded"
        return answer.headers


def effects(sandbox):
    """How many payments the simulated Stripe has in its books."""
    return len(json.loads(get(f"{sandbox.origin}/_sandbox/effects")[1])["effects"])


def judged(payonce, folder, **env):
    """What payonce says of a store after it has worked with it, in its log and at /readyz."""
    sandbox, running = serving(payonce, folder, **env)
    with sandbox, running:
        until(running.said, lambda: "does not answer" not in get(f"{running.health}/readyz")[1])
        assert charge(running, "order-1")["Payonce-Outcome"] == "executed"
        again = charge(running, "order-1")
        assert again["Payonce-Outcome"] == "replayed"
        assert again["Payonce-Degraded"] is None
        assert effects(sandbox) == 1
        return running.said() + get(f"{running.health}/readyz")[1]


def test_one_server_with_these_files_is_trusted(payonce, tmp_path):
    with Redis(tmp_path, "memory.conf", "persistence.conf") as redis:
        said = judged(payonce, tmp_path, NODES=f"redis://127.0.0.1:{redis.port}")
    assert DOUBT not in said
    assert "store: ok" in said
    assert "trusted=true" in said


@pytest.mark.parametrize(
    ("without", "more", "doubt"),
    [
        ("memory.conf", ["maxmemory 1gb", "maxmemory-policy allkeys-lru"], "is allkeys-lru"),
        ("persistence.conf", ["appendonly no"], "appendonly is off"),
        ("persistence.conf", ["appendonly no", 'save ""'], "writes nothing to disk"),
    ],
)
def test_a_server_without_one_of_them_is_not(payonce, tmp_path, without, more, doubt):
    files = [f for f in ["memory.conf", "persistence.conf"] if f != without]
    with Redis(tmp_path, *files, more=more) as redis:
        said = judged(payonce, tmp_path, NODES=f"redis://127.0.0.1:{redis.port}")
    assert DOUBT in said
    assert doubt in said


def test_the_user_with_few_rights_has_enough_and_no_more(payonce, tmp_path):
    acl = f"aclfile {FILES / 'users.acl'}"
    with Redis(tmp_path, "memory.conf", "persistence.conf", more=[acl]) as redis:
        assert "NOAUTH" in redis.ask("get", "payonce:x")
        login = ["--no-auth-warning", "--user", "payonce", "--pass", "change-me"]
        assert redis.ask(*login, "get", "payonce:x") == ""
        for refused in [["get", "other:x"], ["flushall"], ["keys", "*"], ["config", "set", "a", "b"]]:
            assert "NOPERM" in redis.ask(*login, *refused)
        said = judged(
            payonce,
            tmp_path,
            NODES=f"redis://127.0.0.1:{redis.port}",
            USER="payonce",
            PASSWORD="change-me",
        )
    assert DOUBT not in said
    assert "NOPERM" not in said


def test_sentinels_lead_to_a_primary_that_is_trusted(payonce, tmp_path):
    files = ["memory.conf", "persistence.conf", "replication.conf"]
    with Redis(tmp_path, *files) as primary:
        follows = [f"replicaof 127.0.0.1 {primary.port}"]
        with Redis(tmp_path, *files, more=follows, name="replica"):
            until("the replica", lambda: "state=online" in primary.ask("info", "replication"))
            port, folder = free_port(), tmp_path / "sentinel"
            folder.mkdir()
            text = (FILES / "sentinel.conf").read_text()
            here, changed = re.subn(r"mymaster redis-0 6379", f"mymaster 127.0.0.1 {primary.port}", text)
            assert changed == 1
            (folder / "s.conf").write_text(f"{here}\nport {port}\nbind 127.0.0.1\n")
            with Process(["redis-server", "s.conf", "--sentinel"], folder, "sentinel") as sentinel:
                sentinel.until_said("+monitor master mymaster")
                said = judged(
                    payonce,
                    tmp_path,
                    NODES=f"redis://127.0.0.1:{port}",
                    TOPOLOGY="sentinel",
                    MASTER="mymaster",
                )
    assert DOUBT not in said


def test_a_primary_that_nobody_follows_takes_no_writes_and_payments_go_on(payonce, tmp_path):
    with Redis(tmp_path, "memory.conf", "persistence.conf", "replication.conf") as redis:
        sandbox, running = serving(payonce, tmp_path, NODES=f"redis://127.0.0.1:{redis.port}")
        with sandbox, running:
            headers = charge(running, "order-1")
            assert headers["Payonce-Degraded"]
            assert charge(running, "order-1")["Payonce-Operation-Id"] == headers["Payonce-Operation-Id"]
            assert effects(sandbox) == 1


def test_a_cluster_of_these_servers_is_trusted(payonce, tmp_path):
    files = ["memory.conf", "persistence.conf", "cluster.conf"]
    with Redis(tmp_path, *files, more=[f"cluster-port {free_port()}"]) as redis:
        redis.ask("cluster", "addslotsrange", "0", "16383")
        until("the cluster", lambda: "cluster_state:ok" in redis.ask("cluster", "info"))
        said = judged(
            payonce, tmp_path, NODES=f"redis://127.0.0.1:{redis.port}", TOPOLOGY="cluster"
        )
    assert DOUBT not in said


def directives(text):
    """The lines of a redis.conf that say something."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_helm_values_say_what_the_files_say(tmp_path):
    common = yaml.safe_load((FILES / "helm-values.yaml").read_text())["commonConfiguration"]
    files = ["memory.conf", "persistence.conf", "replication.conf"]
    wanted = [line for file in files for line in directives((FILES / file).read_text())]
    assert directives(common) == wanted
    with Redis(tmp_path, text=common) as redis:
        assert redis.ask("config", "get", "maxmemory-policy").splitlines()[1] == "noeviction"
