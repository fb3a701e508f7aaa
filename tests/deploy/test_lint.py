"""YAML, Containerfiles, shell: the linters of the field over what people write by hand."""

import pathlib
import subprocess
import sys

import pytest

from conftest import ROOT

BIN = pathlib.Path(sys.executable).parent


def tracked(*patterns):
    """The repository's own files of some names."""
    asked = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    said = subprocess.run(asked, capture_output=True, text=True, check=True)
    return [ROOT / line for line in said.stdout.splitlines() if (ROOT / line).exists()]


def test_yamllint_finds_nothing():
    files = [file.relative_to(ROOT) for file in tracked("*.yaml", "*.yml")]
    assert len(files) > 15
    asked = [BIN / "yamllint", "--strict", "--config-file", ".yamllint.yaml", *files]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert said.returncode == 0, said.stdout + said.stderr


CONTAINERFILES = tracked("deploy/**/Containerfile")


@pytest.mark.parametrize("file", CONTAINERFILES, ids=lambda file: file.parent.name)
def test_hadolint_finds_nothing(file):
    asked = [BIN / "hadolint", "--failure-threshold", "info", file]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_hadolint_would_find_a_latest_tag(tmp_path):
    (tmp_path / "Containerfile").write_text("FROM debian:latest\n")
    asked = [BIN / "hadolint", tmp_path / "Containerfile"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode != 0
    assert "DL3007" in said.stdout
