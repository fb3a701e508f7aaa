"""The image, built once, and run as a cluster runs it: a read-only root, user 65532, no capability.

runc is the runtime beneath Docker, containerd and CRI-O; buildah gives it the image's root. Both
need root themselves, to make namespaces.
"""

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import uuid

from conftest import ROOT

LONG = 60
DATA = "/var/lib/payonce"
USER = 65532
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="payonce-image-"))
BUILDAH = [
    "buildah",
    "--storage-driver=vfs",
    f"--root={SCRATCH}/storage",
    f"--runroot={SCRATCH}/run",
]
RUNC = ["runc", f"--root={SCRATCH}/runc"]
NAME = "localhost/payonce:of-the-tests"


def run(command, **options):
    """What a command says, once it has ended well."""
    options = {"capture_output": True, "text": True, "timeout": LONG, "check": False} | options
    ended = subprocess.run([str(word) for word in command], **options)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@dataclasses.dataclass
class Image:
    """What deploy/image/build made."""

    said: str
    binary: pathlib.Path
    root: pathlib.Path
    files: list
    config: dict


@functools.cache
def image():
    """Builds the image, and unpacks it where runc can start it."""
    assert os.geteuid() == 0, "containers are made by root: run tests/run --deploy as root"
    atexit.register(remove_all)
    said = build()
    print(said)
    target = re.search(r"^image: target ([^:]+): ", said, re.M)[1]
    container = run([*BUILDAH, "from", NAME]).strip()
    root = pathlib.Path(run([*BUILDAH, "mount", container]).strip())
    about = json.loads(run([*BUILDAH, "inspect", "--type", "image", NAME]))
    target_dir = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = target_dir / target / "image/payonce"
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return Image(said, binary, root, files, about["Docker"])


def digest(name):
    """What an image is named by: it changes with anything in it."""
    return json.loads(run([*BUILDAH, "inspect", "--type", "image", name]))["FromImageDigest"]


def build(name=NAME, image_format="docker"):
    """Everything that deploy/image/build says."""
    env = os.environ | {"PAYONCE_BUILDAH": " ".join(BUILDAH), "PAYONCE_IMAGE": name}
    env["PAYONCE_FORMAT"] = image_format
    return run([ROOT / "deploy/image/build"], env=env, timeout=1800)


def remove_all():
    """Leaves nothing behind: neither containers nor storage."""
    if SCRATCH.exists():
        subprocess.run([*BUILDAH, "rm", "--all"], capture_output=True, timeout=LONG, check=False)
        shutil.rmtree(SCRATCH, ignore_errors=True)


class Box:
    """One container of the image. Its standard output and error are one text.

    `created` is told the process's id before the process runs; how it ends is not known then.
    """

    def __init__(self, args, *, env=None, data=None, mounts=None, network=None, created=None):
        self.id = f"payonce-{uuid.uuid4().hex[:12]}"
        self.bundle = SCRATCH / self.id
        self.bundle.mkdir()
        run([*RUNC, "spec", f"--bundle={self.bundle}"])
        path = self.bundle / "config.json"
        wanted = self._configured(json.loads(path.read_text()), args, env, data, mounts, network)
        path.write_text(json.dumps(wanted))
        self.log = self.bundle / "log"
        self._created = created
        self.process = None

    @staticmethod
    def _configured(spec, args, env, data, mounts, network):
        config = image().config["config"]
        spec["root"] = {"path": str(image().root), "readonly": True}
        process = spec["process"]
        process["terminal"] = False
        process["user"] = {"uid": USER, "gid": USER}
        process["args"] = [*config["Entrypoint"], *args]
        process["cwd"] = config["WorkingDir"]
        process["env"] = config["Env"] + [f"{name}={value}" for name, value in (env or {}).items()]
        process["noNewPrivileges"] = True
        process["capabilities"] = {kind: [] for kind in process["capabilities"]}
        process.pop("rlimits", None)
        for inside, outside in (mounts or {}).items():
            spec["mounts"].append(_bind(inside, outside, "ro"))
        if data is not None:
            spec["mounts"].append(_bind(DATA, data, "rw"))
        for namespace in spec["linux"]["namespaces"]:
            if namespace["type"] == "network" and network is not None:
                namespace["path"] = network
        return spec

    def __enter__(self):
        with self.log.open("wb") as log:
            command = [*RUNC, "run", f"--bundle={self.bundle}", self.id]
            if self._created is None:
                self.process = subprocess.Popen(command, stdout=log, stderr=log)
                return self
            # Made first and started then, so that it can be watched from its first instruction.
            command[len(RUNC)] = "create"
            run(command, capture_output=False, stdout=log, stderr=log)
        self._created(self.pid())
        run([*RUNC, "start", self.id])
        return self

    def __exit__(self, *_what):
        delete = [*RUNC, "delete", "--force", self.id]
        subprocess.run(delete, capture_output=True, timeout=LONG, check=False)
        if self.process is not None:
            self.process.wait(LONG)

    def pid(self):
        """The process in the container, as seen from outside."""
        return json.loads(run([*RUNC, "state", self.id]))["pid"]

    def said(self):
        """What it has said until now."""
        return self.log.read_text()

    def line(self, words):
        """Waits until it says `words`."""
        until(lambda: words in self.said() or self._over(), self.said)
        assert words in self.said(), f"no {words!r} in\n{self.said()}"

    def _over(self):
        return self.process is not None and self.process.poll() is not None

    def ended(self):
        """Waits for its end: the exit code, and what it said."""
        return self.process.wait(LONG), self.said()

    def stop(self):
        """Asks it to end, and waits."""
        run([*RUNC, "kill", self.id, "TERM"])
        if self.process is not None:
            return self.ended()
        until(lambda: "payonce has stopped" in self.said(), self.said)
        return None, self.said()

    def exec(self, *args):
        """Another process in the same container: what `docker exec` and a probe do."""
        command = [*RUNC, "exec", self.id, "/payonce", *args]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
        return ended.returncode, ended.stdout + ended.stderr


def _bind(inside, outside, how):
    options = ["bind", how, "nosuid", "nodev", "noexec"]
    return {"destination": inside, "type": "bind", "source": str(outside), "options": options}


def until(condition, why):
    """Waits for a condition."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)


@contextlib.contextmanager
def data_directory():
    """What a volume is: empty, and the user's."""
    path = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
    os.chown(path, USER, USER)
    path.chmod(0o700)
    yield path
    shutil.rmtree(path)
