"""The image holds one static binary, and needs nothing else to do all that payonce does."""

import concurrent.futures
import ctypes
import http.client
import json
import os
import re
import subprocess
import sys

import image_box
import pytest
from conftest import ROOT
from image_box import DATA, LONG, SCRATCH, USER, Box, data_directory, run, until
from image_peers import DOMAINS, LARGE, NAME

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CHARGE = "amount=500&currency=usd&source=tok_visa"
# What an operator must say to use the embedded store.
ALONE = {"PAYONCE_STORE__SINGLE_INSTANCE": "true"}


@pytest.fixture(scope="module")
def image():
    return image_box.image()


@pytest.fixture
def data(image):
    with data_directory() as path:
        yield path


class Network:
    """The network namespace of a process, and requests that are made within it."""

    def __init__(self, pid):
        self.path = f"/proc/{pid}/ns/net"
        self._threads = concurrent.futures.ThreadPoolExecutor(1, initializer=self._enter)

    def _enter(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open(self.path, encoding="ascii") as namespace:
            entered = libc.setns(namespace.fileno(), 0)
        assert entered == 0, os.strerror(ctypes.get_errno())

    def ask(self, port, method, path, body=None):
        """One request to a port on loopback in there: the answer's status, fields and text."""
        return self._threads.submit(self._ask, port, method, path, body).result(LONG)

    @staticmethod
    def _ask(port, method, path, body):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
        fields = {"Authorization": "Bearer sk_test_of_the_image"}
        if body is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


@pytest.fixture(scope="module")
def peers(image):
    """A name server and a TLS server of our own, in a network that leads nowhere else."""
    directory = SCRATCH / "peers"
    directory.mkdir()
    (directory / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (directory / "empty.pem").write_text("")
    log = directory / "log"
    script = ROOT / "tests/deploy/image_peers.py"
    with log.open("wb") as out:
        command = ["unshare", "--net", sys.executable, script, directory]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        until(lambda: "ready" in log.read_text() or process.poll() is not None, log.read_text)
        assert process.poll() is None, log.read_text()
        yield directory, Network(process.pid)
    finally:
        process.kill()
        process.wait(LONG)


def serving(peers, data, mounts=None, env=None, **options):
    """A payonce in the image, whose provider is a name that only the name server knows."""
    directory, network = peers
    env = ALONE | {"PAYONCE_UPSTREAM__API": f"https://{NAME}"} | (env or {})
    mounts = {"/etc/resolv.conf": directory / "resolv.conf"} | (mounts or {})
    return Box(["serve"], env=env, data=data, mounts=mounts, network=network.path, **options)


def charged(image, peers, data, mounts=None, env=None):
    """One charge, made by a payonce of its own; what the name server was asked for meanwhile."""
    directory, network = peers
    bundle = directory / "bundle.pem"
    own = (image.root / BUNDLE.lstrip("/")).read_text()
    bundle.write_text(own + (directory / "ca.pem").read_text())
    sandbox = Box(["sandbox"], network=network.path)
    with sandbox, serving(peers, data, {BUNDLE: bundle} | (mounts or {}), env) as box:
        sandbox.line("sandbox listens")
        box.line("policy is in force")
        assert network.ask(8422, "GET", "/livez")[::2] == (200, "alive\n")
        before = len((directory / "log").read_text())
        status, fields, body = network.ask(8420, "POST", "/v1/charges", CHARGE)
        assert status == 200 and json.loads(body)["amount"] == 500, body + box.said()
        assert fields["Payonce-Outcome"] == "executed"
        effects = json.loads(network.ask(12111, "GET", "/_sandbox/effects")[2])
        assert len(effects["effects"]) == 1, effects
    return (directory / "log").read_text()[before:]


def test_the_binary_is_linked_against_nothing(image):
    elf = run(["readelf", "--wide", "--program-headers", "--dynamic", image.binary])
    assert "INTERP" not in elf and "NEEDED" not in elf, elf
    kind = run(["file", image.binary])
    assert "static-pie linked" in kind, kind
    listed = subprocess.run(["ldd", image.binary], capture_output=True, text=True, check=False)
    assert re.search("statically linked|not a dynamic executable", listed.stdout + listed.stderr)
    size = image.binary.stat().st_size
    print(f"{kind}the binary has {size / 2**20:.1f} MiB")
    assert size < 40 * 2**20


def test_the_binary_holds_the_c_library_that_the_build_names_and_no_other(image):
    musl = re.search(r"^image: target \S+-linux-musl: its std ", image.said, re.M)
    if not musl:
        # Where Debian's packages have moved on; nobody asked for musl then.
        assert "MUSL_TOOLCHAIN" not in os.environ, image.said
        assert re.search(r"-gnu: no std for \S+-musl .*, so glibc", image.said), image.said
    binary = image.binary.read_bytes()
    # What each says of a name that is not there, and what glibc alone reads.
    of_musl, of_glibc = [b"Name does not resolve"], [b"Name or service not known", b"nsswitch.conf"]
    holds, lacks = (of_musl, of_glibc) if musl else (of_glibc, of_musl)
    for sign in holds:
        assert sign in binary, sign
    for sign in lacks:
        assert sign not in binary, sign
    print(f"C library: {'musl' if musl else 'glibc'}")


def test_the_binary_lies_elsewhere_in_memory_each_time(image):
    header = run(["readelf", "--wide", "--file-header", "--dynamic", image.binary])
    assert "DYN (Position-Independent Executable file)" in header and "PIE" in header, header


def test_the_image_holds_the_binary_the_authorities_and_the_licence_alone(image):
    assert image.files == [
        "etc/ssl/certs/ca-certificates.crt",
        "payonce",
        "usr/share/doc/payonce/LICENSE",
    ]
    bundle = (image.root / BUNDLE.lstrip("/")).read_bytes()
    assert bundle.count(b"BEGIN CERTIFICATE") > 100
    # Whoever takes payonce over cannot change it, also where the root can be written to.
    for path in image.root.rglob("*"):
        inside = path.relative_to(image.root)
        if path.is_symlink() or str(inside).startswith("var/lib/payonce"):
            continue
        about = path.stat()
        assert (about.st_uid, about.st_gid, about.st_mode & 0o022) == (0, 0, 0), path
    about = (image.root / DATA.lstrip("/")).stat()
    assert (about.st_uid, about.st_gid, about.st_mode & 0o777) == (USER, USER, 0o700)


def test_the_image_says_what_it_is_and_how_it_is_run(image):
    config = image.config["config"]
    assert config["User"] == f"{USER}:{USER}"
    assert (config["Entrypoint"], config["Cmd"]) == (["/payonce"], ["serve"])
    assert config["WorkingDir"] == DATA and list(config["Volumes"]) == [DATA]
    assert config["Healthcheck"]["Test"] == ["CMD", "/payonce", "health"]
    labels = config["Labels"]
    for name in ("title", "description", "version", "revision", "created", "licenses"):
        assert labels.get(f"org.opencontainers.image.{name}"), labels
    assert len(image.config["rootfs"]["diff_ids"]) == 1, "one layer"


def test_the_same_source_makes_the_same_image_again(image):
    names = ["localhost/payonce:once", "localhost/payonce:again"]
    for name in names:
        image_box.build(name, "oci")
    once, again = (image_box.digest(name) for name in names)
    assert once == again


def test_the_demo_plays_in_the_image_without_any_file_or_network(image):
    with Box(["demo", "--operations", "200"]) as box:
        code, said = box.ended()
    assert code == 0, said
    assert "payonce" in said


def test_the_policies_are_checked_in_the_image(image):
    with Box(["check", "--strict"], env=ALONE) as box:
        code, said = box.ended()
    assert code == 0, said
    policy = {"/etc/payonce/policy.toml": ROOT / "config/policy.toml"}
    with Box(["check", "/etc/payonce/policy.toml"], mounts=policy) as box:
        code, said = box.ended()
    assert code == 0 and "/etc/payonce/policy.toml" in said, said


def test_it_serves_with_the_settings_of_a_mounted_file(image, data, tmp_path):
    settings = tmp_path / "payonce.toml"
    settings.write_text('[store]\nsingle_instance = true\n[listen]\nhealth = "127.0.0.1:9000"\n')
    inside = "/etc/payonce/payonce.toml"
    args = ["serve", "--settings", inside]
    with Box(args, data=data, mounts={inside: settings}) as box:
        box.line("policy is in force")
        assert box.exec("health", "--settings", inside)[0] == 0
        assert box.exec("health")[0] == 69, "nobody is at the usual port"


def test_it_runs_as_nobody_with_no_capability_and_is_its_own_probe(image, data):
    with Box(["serve"], env=ALONE, data=data) as box:
        box.line("policy is in force")
        with open(f"/proc/{box.pid()}/status", encoding="ascii") as file:
            status = {name: value.strip() for name, _, value in (x.partition(":") for x in file)}
        assert status["Uid"].split() == [str(USER)] * 4 == status["Gid"].split()
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[kind], 16) == 0, (kind, status[kind])
        assert status["NoNewPrivs"] == "1"
        resident = int(status["VmRSS"].split()[0])
        print(f"resident at rest: {resident / 1024:.1f} MiB")
        code, said = box.exec("health")
        assert code == 0 and said.startswith("ready\n"), said
        assert box.exec("health", "--live") == (0, "alive\n")
        code, said = box.exec("ops", "list")
        assert code == 0, f"ops finds the admin token where serve left it: {said}"
        code, said = box.stop()
        assert code == 0 and "payonce has stopped" in said, said


def test_a_charge_goes_by_name_and_tls_to_a_provider_that_the_image_trusts(image, peers, data):
    asked = charged(image, peers, data)
    # The name was looked up there, and nowhere else: there is no way out of this network.
    assert f"asked for {NAME} 1 by UDP" in asked, asked


def test_an_answer_that_is_cut_short_is_asked_for_again_by_tcp(image, peers, data):
    asked = charged(image, peers, data, env={"PAYONCE_UPSTREAM__API": f"https://{LARGE}"})
    assert f"asked for {LARGE} 1 by UDP" in asked and f"asked for {LARGE} 1 by TCP" in asked, asked


# As a pod's, and as a pod's on a node whose own search domain has a wildcard without addresses, or a
# server that fails or refuses. Where musl stops (deploy/image/README.md), payonce goes on.
@pytest.mark.parametrize("last", ["cluster.local", *DOMAINS])
def test_the_search_domains_of_a_cluster_do_not_hide_the_provider(image, peers, data, tmp_path, last):
    cluster = tmp_path / "resolv.conf"
    domains = f"payments.svc.cluster.local svc.cluster.local {last}"
    cluster.write_text(f"search {domains}\nnameserver 127.0.0.1\noptions ndots:5\n")
    asked = charged(image, peers, data, {"/etc/resolv.conf": cluster})
    names = re.findall(r"asked for (\S+) (?:1|28) by", asked)
    assert f"{NAME}.{last}" in names and NAME in names, names
    print(f"search domain {last}: {len(names)} questions")


def test_a_provider_that_the_image_does_not_trust_is_sent_nothing(image, peers, data):
    _directory, network = peers
    env = {"PAYONCE_RETRY__MAX_ATTEMPTS": "1"}
    sandbox = Box(["sandbox"], network=network.path)
    with sandbox, serving(peers, data, env=env) as box:
        sandbox.line("sandbox listens")
        box.line("policy is in force")
        status, _fields, body = network.ask(8420, "POST", "/v1/charges", CHARGE)
        assert status >= 500 and "nothing was sent" in body.lower(), body + box.said()
        assert "UnknownIssuer" in box.said(), box.said()
        effects = json.loads(network.ask(12111, "GET", "/_sandbox/effects")[2])
        assert effects["effects"] == [], effects


def test_an_image_without_authorities_ends_at_once_and_says_so(image, peers, data):
    directory, _network = peers
    with serving(peers, data, {BUNDLE: directory / "empty.pem"}) as box:
        code, said = box.ended()
    assert code == 64 and "upstream.ca_file: not set" in said and "nothing was bound" in said, said


def test_a_root_without_a_volume_is_told_apart_by_the_place_that_cannot_be_written(image):
    with Box(["serve"], env=ALONE) as box:
        code, said = box.ended()
    assert code == 69 and "store.path: " in said and "payonce.redb" in said, said
    with Box(["serve", "--sandbox"]) as box:
        code, said = box.ended()
    assert code == 69 and "admin.token_file: " in said, said
    # With neither a store nor a token of its own it needs no place at all.
    env = {"PAYONCE_ADMIN__TOKEN": "a-token-of-sixteen-or-more"}
    with Box(["serve", "--sandbox"], env=env) as box:
        box.line("policy is in force")
        assert box.exec("health")[0] == 0


def test_nothing_outside_the_volume_is_opened_for_writing(image, peers, data):
    directory, network = peers
    trace = directory / "trace"
    tracer = []

    def attach(pid):
        calls = "trace=%file,ftruncate"
        command = ["strace", "-f", "-qq", "-e", calls, "-o", str(trace), "-p", str(pid)]
        tracer.append(subprocess.Popen(command))
        until(lambda: traced(pid), lambda: "strace does not attach")

    try:
        with serving(peers, data, created=attach) as box:
            box.line("policy is in force")
            network.ask(8420, "POST", "/v1/charges", CHARGE)
            network.ask(8422, "GET", "/metrics")
            box.stop()
    finally:
        for process in tracer:
            process.wait(LONG)
    lines = trace.read_text().split('execve("/payonce"', 1)[1].splitlines()
    changing = re.compile(
        r"O_WRONLY|O_RDWR|O_CREAT| (?:mkdir|rename|unlink|link|symlink|chmod|chown|truncate)"
    )
    wrote = [line for line in lines if changing.search(line)]
    stray = [line for line in wrote if not re.search(r'"(?:/var/lib/payonce/|payonce)', line)]
    print(f"{len(lines)} system calls with files, {len(wrote)} of them to write")
    assert wrote, "the store and the token are written"
    assert not stray, stray


def traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return not re.search(r"^TracerPid:\t0$", file.read(), re.M)
