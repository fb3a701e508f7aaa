"""The Kustomize folders, built by kubectl: what Kubernetes and payonce itself make of them."""

import subprocess

import pytest

import manifests
from conftest import ROOT, mounted
from manifests import CHART, NATIVE, kustomize, one, render, values_of

FOLDERS = ["base", "overlays/production"]


@pytest.fixture(scope="module")
def built():
    """Each folder's objects."""
    return {folder: kustomize(ROOT / "deploy/kustomize" / folder) for folder in FOLDERS}


def pod_of(objects):
    """The spec of the one Deployment's pods."""
    return one(objects, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize("kubernetes", NATIVE)
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubernetes_takes_it(built, folder, kubernetes):
    manifests.validate(built[folder], kubernetes)


@pytest.mark.parametrize("folder", FOLDERS)
def test_payonce_takes_its_settings_and_policy(built, folder, payonce, tmp_path):
    asked = [payonce, "check", "--settings", mounted(built[folder], tmp_path)]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_sidecar_is_the_chart_s(built, folder):
    """Two ways to one pod: what differs is named here."""
    of_chart = pod_of(render(values_of(CHART / "ci/single-values.yaml")))
    (sidecar,) = pod_of(built[folder])["initContainers"]
    (wanted,) = of_chart["initContainers"]
    own = {"image", "volumeMounts"}
    assert {k: v for k, v in sidecar.items() if k not in own} == {
        k: v for k, v in wanted.items() if k not in own
    }
    mounts = {m["name"]: m for m in sidecar["volumeMounts"]}
    for mount in wanted["volumeMounts"]:
        if mount["name"] != "payonce-secrets":
            assert mounts[mount["name"]] == mount
    grace = pod_of(built[folder])["terminationGracePeriodSeconds"]
    assert grace == of_chart["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_it_listens_where_the_chart_does_and_bears_its_annotation(built, folder):
    of_chart = render(values_of(CHART / "ci/single-values.yaml"))
    (wanted,) = [
        line
        for line in one(of_chart, "ConfigMap", "settings")["data"]["payonce.toml"].splitlines()
        if line.startswith("health = ")
    ]
    text = one(built[folder], "ConfigMap", "settings")["data"]["payonce.toml"]
    assert wanted in text.splitlines()
    template = one(built[folder], "Deployment")["spec"]["template"]
    assert template["metadata"]["annotations"] == {"payonce/sidecar": "own"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_new_policy_keeps_its_name_and_new_settings_do_not(built, folder):
    names = {o["metadata"]["name"] for o in built[folder] if o["kind"] == "ConfigMap"}
    assert "payonce-policy" in names
    (settings,) = names - {"payonce-policy"}
    assert settings.startswith("payonce-settings-")
    volumes = {v["name"]: v for v in pod_of(built[folder])["volumes"]}
    assert volumes["payonce-settings"]["configMap"]["name"] == settings


def test_production_rolls_several_pods_with_a_pinned_image_and_a_secret(built):
    deployment = one(built["overlays/production"], "Deployment")["spec"]
    (sidecar,) = pod_of(built["overlays/production"])["initContainers"]
    assert deployment["replicas"] > 1
    assert deployment["strategy"]["type"] == "RollingUpdate"
    assert "@sha256:" in sidecar["image"]
    assert "/run/secrets/payonce" in [m["mountPath"] for m in sidecar["volumeMounts"]]


def test_one_pod_with_a_file_is_never_two():
    deployment = one(kustomize(ROOT / "deploy/kustomize/base"), "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
