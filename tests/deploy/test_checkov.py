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
from manifests import CI_VALUES, kustomize, render, values_of

CHECKOV = pathlib.Path(
    os.environ.get("CHECKOV", ROOT / "tests/.tools/deploy-checkov/bin/checkov")
)


def judged(folder):
    """Its report on a folder: the summary, and what failed."""
    asked = [CHECKOV, "--config-file", ROOT / ".checkov.yaml", "-d", folder, "-o", "json"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=240, check=False)
    report = json.loads(said.stdout)
    failed = report["results"]["failed_checks"]
    return report["summary"], [f"{c['check_id']} {c['check_name']}: {c['resource']}" for c in failed]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A folder with what each file of values and each Kustomize folder comes to."""
    folder = tmp_path_factory.mktemp("rendered")
    for path in CI_VALUES:
        (folder / path.name).write_text(yaml.safe_dump_all(render(values_of(path))))
    for name in ["base", "overlays/production"]:
        objects = kustomize(ROOT / "deploy/kustomize" / name)
        (folder / f"{name.replace('/', '-')}.yaml").write_text(yaml.safe_dump_all(objects))
    return folder


def test_nothing_fails_that_is_not_waived_with_a_reason(everything):
    summary, failed = judged(everything)
    assert not failed
    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 400


def test_a_container_that_runs_as_root_would_fail(tmp_path):
    objects = render(values_of(manifests.CHART / "ci/redis-values.yaml"))
    pod = manifests.one(objects, "Deployment")["spec"]["template"]["spec"]
    pod["initContainers"][0]["securityContext"] = {"privileged": True, "runAsUser": 0}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump_all(objects))
    _, failed = judged(tmp_path)
    assert any("CKV_K8S_16 " in line for line in failed), failed


def test_every_waiver_has_its_reason():
    text = (ROOT / ".checkov.yaml").read_text()
    for waived in yaml.safe_load(text)["skip-check"]:
        assert re.search(rf'  # "[^\n]+\n(?:  # [^\n]+\n)*  - {waived}\n', text), waived
