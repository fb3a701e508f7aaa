"""What a pod mounts, as the kubelet mounts it, against a payonce that runs."""

import hashlib
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import mounted
from manifests import CHART, one, render, values_of
from processes import Payonce, get, until

SINGLE = CHART / "ci/single-values.yaml"
ONE = 'version = 1\n[[rule]]\nname = "one"\nmatch = ["POST /**"]\nclass = "critical"\n'
TWO = ONE.replace('"one"', '"two"')
BROKEN = ONE.replace("critical", "crucial")


class Volume:
    """A ConfigMap's directory: files are links into `..data`, itself a link that is swapped."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.turn = folder, 0
        texts = {file.name: file.read_text() for file in folder.iterdir()}
        shutil.rmtree(folder)
        folder.mkdir()
        self.swap(texts)
        for name in texts:
            (folder / name).symlink_to(pathlib.Path("..data") / name)

    def swap(self, texts: dict) -> None:
        """What the kubelet does when the object has changed: one rename, then the old one goes."""
        old, self.turn = self.turn, self.turn + 1
        fresh = self.folder / f"..2026_11_24_00_00_{self.turn:02}.1"
        fresh.mkdir()
        for name, text in texts.items():
            (fresh / name).write_text(text)
        (self.folder / "..data_tmp").symlink_to(fresh.name)
        os.rename(self.folder / "..data_tmp", self.folder / "..data")
        if old:
            shutil.rmtree(self.folder / f"..2026_11_24_00_00_{old:02}.1")


@pytest.fixture
def pod(payonce, tmp_path):
    """A payonce on what the chart renders, and the policy's volume. The timer never fires."""
    settings = mounted(render(values_of(SINGLE, policy={"text": ONE})), tmp_path)
    volume = Volume(tmp_path / "etc/payonce/policy")
    with Payonce(payonce, settings, tmp_path, PAYONCE_POLICY__REFRESH="1h") as running:
        running.volume, running.settings = volume, settings
        yield running


def in_force(pod, text):
    """Waits until `text` is the policy that readiness tells of."""
    version = hashlib.sha256(text.encode()).hexdigest()[:12]
    until(lambda: pod.said(), lambda: f"policy: version {version}" in get(f"{pod.health}/readyz")[1])


def test_a_swapped_config_map_is_taken_again_and_again(pod):
    in_force(pod, ONE)
    for text in [TWO, ONE, TWO]:
        pod.volume.swap({"policy.toml": text})
        in_force(pod, text)


def test_a_bad_policy_that_is_swapped_in_leaves_the_one_in_force(pod):
    in_force(pod, ONE)
    pod.volume.swap({"policy.toml": BROKEN})
    refused = "payonce_policy_refused_total 1"
    until(lambda: pod.said(), lambda: refused in get(f"{pod.health}/metrics")[1])
    in_force(pod, ONE)
    assert get(f"{pod.health}/readyz")[0] == 200
    assert "crucial" in pod.said()
    pod.volume.swap({"policy.toml": TWO})
    in_force(pod, TWO)


def test_every_probe_of_the_pod_is_answered(pod):
    deployment = one(render(values_of(SINGLE)), "Deployment")
    (sidecar,) = deployment["spec"]["template"]["spec"]["initContainers"]
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
        path = sidecar[probe]["httpGet"]["path"]
        status, body = get(f"{pod.health}{path}")
        assert status == 200, f"{probe} asks {path}: {body}"
    assert "payonce_" in get(f"{pod.health}/metrics")[1]


def test_a_pod_starts_and_is_ready_while_its_redis_is_not_there(payonce, tmp_path):
    values = values_of(CHART / "ci/plain-container-values.yaml")
    values["store"]["redis"]["nodes"] = "redis://127.0.0.1:1"
    settings = mounted(render(values, "1.28"), tmp_path)
    with Payonce(payonce, settings, tmp_path) as running:
        status, body = get(f"{running.health}/readyz")
        assert (status, "store: degraded" in body) == (200, True)
        assert get(f"{running.health}/livez")[0] == 200


def test_a_watcher_takes_no_webhooks_and_is_ready(payonce, tmp_path):
    more = {"watcher": {"enabled": True}, "webhook": {"service": {"enabled": False}}}
    objects = render(values_of(CHART / "ci/redis-values.yaml", **more))
    watcher = one(objects, "Deployment", "watcher")["spec"]["template"]["spec"]
    nobody = "rediss://127.0.0.1:1"
    settings = mounted(objects, tmp_path, watcher)
    settings.write_text(settings.read_text().replace("rediss://redis.payments.svc:6379", nobody))
    env = {each["name"]: each["value"] for each in watcher["containers"][0]["env"]}
    with Payonce(payonce, settings, tmp_path, **env) as running:
        assert get(f"{running.health}/readyz")[0] == 200
        assert "8423" not in running.said()


def test_all_that_is_written_lies_in_the_state_directory(pod, tmp_path):
    """So that the root and all else can be read-only."""
    ours = {"payonce.log"}
    written = {
        str(p.relative_to(tmp_path))
        for p in tmp_path.rglob("*")
        if p.is_file() and "etc" not in p.parts and "secrets" not in p.parts
    } - ours
    assert written
    assert all(name.startswith("var/lib/payonce/") for name in written), written


def test_ops_finds_its_way_by_the_settings_alone(pod, payonce, tmp_path):
    """As the chart's notes say: kubectl exec … /payonce ops list --settings …"""
    asked = [payonce, "ops", "list", "--settings", pod.settings]
    said = subprocess.run(
        asked, capture_output=True, text=True, timeout=60, env=pod.variables, cwd=tmp_path, check=False
    )
    assert said.returncode == 0, said.stderr
