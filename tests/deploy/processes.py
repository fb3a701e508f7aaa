"""Processes that a test starts, waits for by what they do, and ends."""

import contextlib
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

# A condition that a healthy machine meets within a second; a busy one may take its time.
PATIENCE = 30


def free_port() -> int:
    """A port on loopback that nobody uses just now."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, condition, patience=PATIENCE):
    """The first truthy answer of `condition`; fails with `what` was waited for."""
    ends = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < ends, f"waited {patience} s for {what() if callable(what) else what}"
        time.sleep(0.02)


def get(url: str) -> tuple[int, str]:
    """Status and body; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError as error:
        return 0, str(error)


class Process:
    """A child with its output in a file."""

    def __init__(self, command, folder, name, env=None):
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env={"PATH": os.environ["PATH"], **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        """All that it printed so far."""
        return self.log.read_text(errors="replace")

    def until_said(self, text: str) -> None:
        """Waits until it printed `text`."""
        until(lambda: f"{text!r} in: {self.said()}", lambda: text in self.said() or self.ended())
        assert text in self.said(), self.said()

    def ended(self) -> bool:
        """Whether it is gone."""
        return self.child.poll() is not None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


class Payonce(Process):
    """`payonce serve` with a settings file, at ports of its own."""

    def __init__(self, binary, settings, folder, **env):
        ports = {name: free_port() for name in ["PROXY", "ADMIN", "HEALTH"]}
        listen = {f"PAYONCE_LISTEN__{name}": f"127.0.0.1:{port}" for name, port in ports.items()}
        command = [binary, "serve", "--settings", settings]
        self.variables = {"NO_COLOR": "1", **listen, **env}
        super().__init__(command, folder, "payonce", self.variables)
        self.proxy = f"http://127.0.0.1:{ports['PROXY']}"
        health = self.variables["PAYONCE_LISTEN__HEALTH"].rpartition(":")[2]
        self.health = f"http://127.0.0.1:{health}"
        until(
            lambda: f"payonce to be ready: {self.said()}",
            lambda: get(f"{self.health}/readyz")[0] == 200 or self.ended(),
        )
        assert not self.ended(), self.said()


class Sandbox(Process):
    """`payonce sandbox`: a simulated Stripe."""

    def __init__(self, binary, folder):
        port = free_port()
        super().__init__([binary, "sandbox", "--listen", f"127.0.0.1:{port}"], folder, "sandbox")
        self.origin = f"http://127.0.0.1:{port}"
        until("the sandbox", lambda: get(f"{self.origin}/_sandbox/effects")[0] == 200)

    def variables(self) -> dict:
        """What leads a payonce here instead of to Stripe."""
        hosts = ["API", "FILES", "CONNECT", "METER_EVENTS"]
        return {f"PAYONCE_UPSTREAM__{host}": self.origin for host in hosts}
