"""What the checks of `deploy/` share: where things lie, and the binary that they ask."""

import base64
import os
import pathlib
import sys

import certifi
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# deploy/helm/sync.py says what the chart's schema leaves out.
sys.path.append(str(ROOT / "deploy/helm"))


@pytest.fixture(scope="session")
def payonce() -> pathlib.Path:
    """The binary that `tests/deploy/run` built."""
    return pathlib.Path(os.environ.get("PAYONCE", ROOT / "target/debug/payonce"))


@pytest.fixture(scope="session")
def deploy() -> pathlib.Path:
    """The folder that is checked."""
    return ROOT / "deploy"


def mounted(objects: list, root: pathlib.Path, pod: dict | None = None) -> pathlib.Path:
    """The files that a pod's payonce would see, below `root`; the settings' path among them.

    Paths in the settings are turned to `root`, and nothing else is changed. What stands in objects
    that are not there (a Secret of the platform's own) is made up.
    """
    pod = pod or next(
        o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"
    )
    containers = [*pod.get("initContainers", []), *pod["containers"]]
    container = next(c for c in containers if c["name"] == "payonce")
    at = {m["name"]: root / m["mountPath"].lstrip("/") for m in container["volumeMounts"]}
    for volume in pod["volumes"]:
        if volume["name"] not in at:
            continue
        folder = at[volume["name"]]
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files_of(volume, objects).items():
            (folder / name).write_bytes(content)
    settings = root / container["args"][container["args"].index("--settings") + 1].lstrip("/")
    text = settings.read_text()
    for prefix in ["/etc/payonce", "/run/secrets/payonce", "/var/lib/payonce"]:
        text = text.replace(f'"{prefix}/', f'"{root}{prefix}/')
    settings.write_text(text)
    for line in text.splitlines():
        make_up(line, root)
    return settings


def files_of(volume: dict, objects: list) -> dict:
    """What a volume holds: name → bytes."""
    kind, name = (
        ("ConfigMap", volume["configMap"]["name"])
        if "configMap" in volume
        else ("Secret", volume.get("secret", {}).get("secretName"))
    )
    for each in objects:
        if each["kind"] == kind and each["metadata"]["name"] == name:
            plain = {k: v.encode() for k, v in each.get("data", {}).items() if kind == "ConfigMap"}
            coded = each.get("data", {}) if kind == "Secret" else {}
            return plain | {k: base64.b64decode(v) for k, v in coded.items()}
    return {}


def make_up(line: str, root: pathlib.Path) -> None:
    """A file that a setting names and no object holds: an authority, or some secret."""
    for named in line.split('"')[1::2]:
        path = pathlib.Path(named)
        if not named.startswith(str(root)) or path.exists() or path.suffix == ".redb":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".crt":
            path.write_bytes(pathlib.Path(certifi.where()).read_bytes())
        else:
            prefix = "whsec_" if "webhook" in path.name else ""
            path.write_text(f"{prefix}made-up-0123456789abcdef-{path.name}")
