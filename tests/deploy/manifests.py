"""The chart and the Kustomize folders as a cluster would get them, and what checks them."""

import functools
import json
import pathlib
import subprocess
import sys

import kubernetes_validate
import yaml
from cloudcoil.models.kyverno import v1 as kyverno
from cloudcoil.models.prometheus_operator import v1 as monitoring
from helm_python import _native, chart

from conftest import ROOT

# It reads megabytes of schemas anew for each object; they do not change.
kubernetes_validate.utils.schema_contents = functools.lru_cache(None)(
    kubernetes_validate.utils.schema_contents
)

CHART = ROOT / "deploy/helm/payonce"
CI_VALUES = sorted((CHART / "ci").glob("*.yaml"))
# Native sidecars are on by default since 1.29; older clusters get an ordinary container.
NATIVE = [f"1.{minor}" for minor in range(29, 38)]
OLDER = [f"1.{minor}" for minor in range(25, 29)]
CUSTOM = {
    "monitoring.coreos.com/v1/PodMonitor": monitoring.PodMonitor,
    "monitoring.coreos.com/v1/ServiceMonitor": monitoring.ServiceMonitor,
    "monitoring.coreos.com/v1/PrometheusRule": monitoring.PrometheusRule,
    "kyverno.io/v1/ClusterPolicy": kyverno.ClusterPolicy,
}


def values_of(path: pathlib.Path, **more) -> dict:
    """A file of values, with some of them replaced."""
    return merged(yaml.safe_load(path.read_text()), more)


def merged(base: dict, over: dict) -> dict:
    """`over` upon `base`, map by map."""
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def render(values: dict, kubernetes: str = "1.36", serves=(), at: pathlib.Path = CHART) -> list:
    """The chart's objects for a version of Kubernetes; the schema is asked first, as Helm does."""
    options = {
        "name": "payonce",
        "namespace": "payments",
        "kube_version": f"v{kubernetes}.0",
        "api_versions": list(serves),
    }
    with chart.Chart.load(at) as loaded:
        loaded.validate_schema(values)
        # `Chart.render` has no argument for the version of Kubernetes; the library beneath it has.
        said = _native.call_string(
            "helm_render", loaded._raw(), json.dumps(values), json.dumps(options)
        )
    texts = {name: text for name, text in json.loads(said).items() if name.endswith(".yaml")}
    return [each for text in texts.values() for each in yaml.safe_load_all(text) if each]


def kustomize(folder: pathlib.Path) -> list:
    """What `kubectl kustomize` makes of a folder."""
    kubectl = pathlib.Path(sys.executable).parent / "kubectl"
    said = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0, said.stderr
    assert not said.stderr, said.stderr
    return [each for each in yaml.safe_load_all(said.stdout) if each]


def validate(objects: list, kubernetes: str) -> None:
    """Fails on whatever that version of Kubernetes would refuse, and on what nothing knows."""
    assert objects
    for each in objects:
        kind = f"{each['apiVersion']}/{each['kind']}"
        if kind in CUSTOM:
            CUSTOM[kind].model_validate(each, extra="forbid")
        else:
            # It falls back to an older version where it has no schemas: that would prove nothing.
            assert kubernetes_validate.validate(each, kubernetes, strict=True) == kubernetes


def one(objects: list, kind: str, name: str = "") -> dict:
    """The one object of a kind."""
    found = [o for o in objects if o["kind"] == kind and name in o["metadata"]["name"]]
    assert len(found) == 1, [o["metadata"]["name"] for o in found]
    return found[0]
