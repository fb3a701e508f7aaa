"""The shipped settings and policy are those that `deploy/` starts from."""

import subprocess

from conftest import ROOT


def test_the_shipped_policy_is_in_order(payonce):
    asked = [payonce, "check", ROOT / "config/policy.toml"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
