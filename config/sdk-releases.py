#!/usr/bin/env python3
"""Refreshes sdk-releases.tsv, the table of released Stripe SDKs, from the package registries.

    python3 config/sdk-releases.py                      # every SDK, the table beside this file
    python3 config/sdk-releases.py --only python,node   # only these
    python3 config/sdk-releases.py --base rubygems=https://gems.example.com FILE

Needs Python 3.9 and nothing else of its own. What a registry's client knows is asked of that client,
so that a mirror or proxy which it is set up for is used here too: pip for Python, npm for Node, cargo
for Rust, go for Go. The other registries are asked over HTTPS; --base names a mirror.

Whatever cannot be asked keeps the lines that it has, is named on standard error, and makes the exit
code 1. The file is replaced in one step, and only with lines that read back.
"""

import argparse
import datetime
import gzip
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

STABLE = re.compile(r"^\d+(\.\d+){0,3}$")
# SDKs of which people use what is not called stable.
UNSTABLE_TOO = {"rust"}
BASES = {
    "rubygems": "https://rubygems.org",
    "packagist": "https://repo.packagist.org",
    "nuget": "https://api.nuget.org",
    "maven": "https://search.maven.org",
}
HEAD = """\
# The releases of the Stripe SDKs that payonce knows: what `older_than` in a [[client]] rule and
# `payonce clients` go by. Refresh it with: python3 config/sdk-releases.py
#
# A payonce takes a newer table without being built anew: clients.releases in its settings.
#
# sdk      as in `sdk = …` of the policy
# version  as released; stable ones, since 2022. Below the first that is listed counts as at least
#          that old, above the last as fresh, and anything else that is not listed as of unknown age.
# date     of the release; "-" where nobody has looked it up: of unknown age
# source   the registry that said so; "facts": the version that payonce's authors read
"""


def run(*command):
    """What a client prints, run where no project of ours changes what it means."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise RuntimeError(f"{command[0]}: {last}")
    return done.stdout


def fetch(url, accept="application/json"):
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "payonce-sdk-releases"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        body = answer.read(64 << 20)
    return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


def python(_bases):
    """pip's index (PEP 691; the upload times are of PEP 700)."""
    try:
        index = os.environ.get("PIP_INDEX_URL") or run(
            sys.executable, "-m", "pip", "config", "get", "global.index-url").strip()
    except RuntimeError:  # not set: pip's own default
        ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
        index = run(sys.executable, "-c", ask).strip()
    page = fetch(index.rstrip("/") + "/stripe/", "application/vnd.pypi.simple.v1+json")
    found = {}
    for file in page["files"]:
        name = re.match(r"stripe-([^-]+?)(\.tar\.gz|\.zip|-py.*\.whl)$", file["filename"])
        if name and not file.get("yanked"):
            date = file["upload-time"][:10]
            found[name[1]] = min(date, found.get(name[1], date))
    return "pypi", found


def node(_bases):
    """The package's own changelog: a mirror of the registry may date a release by when it fetched it."""
    with tempfile.TemporaryDirectory() as folder:
        run("npm", "pack", "stripe", "--silent", "--pack-destination", folder)
        with tarfile.open(next(pathlib.Path(folder).glob("stripe-*.tgz"))) as package:
            text = package.extractfile("package/CHANGELOG.md").read().decode("utf-8")
    return "npm", dict(re.findall(r"^## .*?(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", text, re.MULTILINE))


def rust(_bases):
    """`cargo info` brings cargo's index up to date; only the index has the dates."""
    run("cargo", "info", "async-stripe")
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    found = {}
    for cached in home.glob("registry/index/*/.cache/as/yn/async-stripe"):
        for line in cached.read_bytes().split(b"\0"):
            release = json.loads(line) if line.startswith(b"{") else {}
            if release.get("pubtime") and not release.get("yanked"):
                found[release["vers"]] = release["pubtime"][:10]
    return "crates.io", found


def go(_bases):
    """Every major version is a module of its own."""
    found, major, missing = {}, 72, 0
    while missing < 2:  # a major version may have been skipped
        module = f"github.com/stripe/stripe-go/v{major}"
        major += 1
        try:
            versions = json.loads(run("go", "list", "-m", "-versions", "-json", module)).get("Versions", [])
            stable = [f"{module}@{version}" for version in versions if STABLE.match(version[1:])]
            text = run("go", "list", "-m", "-json", *stable) if stable else ""
        except RuntimeError:
            missing += 1
            continue
        missing, decoder, text = 0, json.JSONDecoder(), text.strip()
        while text:
            release, end = decoder.raw_decode(text)
            found[release["Version"][1:]] = release["Time"][:10]
            text = text[end:].strip()
    return "go", found


def ruby(bases):
    releases = fetch(bases["rubygems"] + "/api/v1/versions/stripe.json")
    return "rubygems", {one["number"]: one["created_at"][:10] for one in releases}


def php(bases):
    releases = fetch(bases["packagist"] + "/p2/stripe/stripe-php.json")["packages"]["stripe/stripe-php"]
    return "packagist", {one["version"].lstrip("v"): one["time"][:10] for one in releases}


def dotnet(bases):
    services = fetch(bases["nuget"] + "/v3/index.json")["resources"]
    base = next(one["@id"] for one in services if one["@type"] == "RegistrationsBaseUrl/3.6.0")
    found = {}
    for page in fetch(base.rstrip("/") + "/stripe.net/index.json")["items"]:
        for one in page.get("items") or fetch(page["@id"])["items"]:
            entry = one["catalogEntry"]
            if entry.get("listed", True):
                found[entry["version"]] = entry["published"][:10]
    return "nuget", found


def java(bases):
    found, query = {}, "/solrsearch/select?q=g:com.stripe+AND+a:stripe-java&core=gav&rows=200&wt=json&start="
    while True:
        docs = fetch(bases["maven"] + query + str(len(found)))["response"]["docs"]
        for one in docs:
            when = datetime.datetime.fromtimestamp(one["timestamp"] / 1000, datetime.timezone.utc)
            found[one["v"]] = when.date().isoformat()
        if len(docs) < 200:
            return "maven", found


SDKS = {"python": python, "node": node, "go": go, "ruby": ruby, "php": php, "java": java, "dotnet": dotnet, "rust": rust}


def order(version):
    """Numbers by value, and what is no release yet before its release."""
    numbers, _, rest = version.partition("-")
    stage = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|[a-z]+", rest)]
    return ([int(number) for number in numbers.split(".")], not rest, stage)


def lines_of(path):
    """The lines of the table, by SDK."""
    kept = {sdk: [] for sdk in SDKS}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#") and not line.startswith("sdk\t"):
                kept[line.split("\t")[0]].append(line)
    return kept


def fresh(sdk, bases, since):
    source, found = SDKS[sdk](bases)
    unstable = sdk in UNSTABLE_TOO
    wanted = {v: d for v, d in found.items() if d >= since and (unstable or STABLE.match(v))}
    for version, date in wanted.items():
        datetime.date.fromisoformat(date)
        if not re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", version):
            raise RuntimeError(f"{version!r} is no version")
    if not wanted:
        raise RuntimeError("no release is named")
    return [f"{sdk}\t{version}\t{wanted[version]}\t{source}" for version in sorted(wanted, key=order)]


def main():
    parser = argparse.ArgumentParser(description="Refreshes the table of released Stripe SDKs.")
    parser.add_argument("file", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).with_name("sdk-releases.tsv"))
    parser.add_argument("--only", help="these SDKs alone, comma-separated: " + ", ".join(SDKS))
    parser.add_argument("--since", default="2022-01-01", help="nothing older (default: %(default)s)")
    parser.add_argument("--base", action="append", default=[], metavar="REGISTRY=URL", help="a mirror of " + ", ".join(BASES))
    given = parser.parse_args()
    bases = {**BASES, **dict(one.split("=", 1) for one in given.base)}
    chosen = given.only.split(",") if given.only else list(SDKS)
    if set(chosen) - set(SDKS) or set(bases) - set(BASES):
        parser.error("no such SDK or registry: see --help")
    lines, failed = lines_of(given.file), False
    for sdk in chosen:
        try:
            lines[sdk] = fresh(sdk, bases, given.since)
            print(f"{sdk}: {len(lines[sdk])} releases, the last {lines[sdk][-1].split(chr(9))[1]}", file=sys.stderr)
        except (RuntimeError, OSError, ValueError, KeyError, subprocess.SubprocessError, StopIteration) as error:
            failed = True
            print(f"{sdk}: not asked ({error}); its {len(lines[sdk])} lines stay as they are", file=sys.stderr)
    text = HEAD + "sdk\tversion\tdate\tsource\n" + "".join(line + "\n" for sdk in SDKS for line in lines[sdk])
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=given.file.parent, delete=False) as new:
        new.write(text)
    os.chmod(new.name, 0o644)
    os.replace(new.name, given.file)
    return 1 if failed else 0


sys.exit(main())
