"""What the checks of `deploy/` share: where things lie, and the binary that they ask."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def payonce() -> pathlib.Path:
    """The binary that `tests/deploy/run` built."""
    return pathlib.Path(os.environ.get("PAYONCE", ROOT / "target/debug/payonce"))


@pytest.fixture(scope="session")
def deploy() -> pathlib.Path:
    """The folder that is checked."""
    return ROOT / "deploy"
