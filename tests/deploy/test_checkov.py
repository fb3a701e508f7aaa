"""What checkov says of all that is rendered and built. What is waived stands in .checkov.yaml."""

import json
import os
import pathlib
import re
import subprocess

import pytest
import yaml

import manifests
from conftest import ROOT
from manifests import CHART, CI_VALUES, kustomize, render, values_of

CHECKOV = pathlib.Path(
    os.environ.get("CHECKOV", ROOT / "tests/.tools/deploy-checkov/bin/checkov")
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Its one report, on what each file of values and each Kustomize folder comes to, and on a pod
    that must not pass."""
    folder = tmp_path_factory.mktemp("rendered")
    for path in CI_VALUES:
        (folder / path.name).write_text(yaml.safe_dump_all(render(values_of(path))))
    for name in ["base", "overlays/production"]:
        objects = kustomize(ROOT / "deploy/kustomize" / name)
        (folder / f"{name.replace('/', '-')}.yaml").write_text(yaml.safe_dump_all(objects))
    bad = manifests.one(render(values_of(CHART / "ci/redis-values.yaml")), "Deployment")
    pod = bad["spec"]["template"]["spec"]
    pod["initContainers"][0]["securityContext"] = {"privileged": True, "runAsUser": 0}
    (folder / "bad.yaml").write_text(yaml.safe_dump(bad))
    asked = [CHECKOV, "--config-file", ROOT / ".checkov.yaml", "-d", folder, "-o", "json"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=240, check=False)
    return json.loads(said.stdout)


def failed(report, bad):
    """What failed in the bad file, or in all others."""
    return [
        f"{each['check_id']} {each['check_name']}: {each['resource']}"
        for each in report["results"]["failed_checks"]
        if each["file_path"].endswith("/bad.yaml") == bad
    ]


def test_nothing_fails_that_is_not_waived_with_a_reason(report):
    assert not failed(report, bad=False)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 400


def test_a_privileged_container_would_fail(report):
    assert any("CKV_K8S_16 " in line for line in failed(report, bad=True))


def test_every_waiver_has_its_reason():
    text = (ROOT / ".checkov.yaml").read_text()
    for waived in yaml.safe_load(text)["skip-check"]:
        assert re.search(rf'  # "[^\n]+\n(?:  # [^\n]+\n)*  - {waived}\n', text), waived
