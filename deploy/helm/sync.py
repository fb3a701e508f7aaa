"""Brings what deploy/ repeats from elsewhere up to date: Helm and Kustomize read no file above them.

    python3 deploy/helm/sync.py          writes it
    python3 deploy/helm/sync.py --check  exits with 1 if it is not up to date, and says what

The policy and the alerts are copied. The settings in the chart's values.schema.json are made from
config/payonce.toml; the rest of the schema is written by hand and stays as it is.
"""

import json
import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "config/payonce.toml"
SCHEMA = ROOT / "deploy/helm/payonce/values.schema.json"
COPIES = {
    ROOT / "deploy/helm/payonce/files/policy.toml": ROOT / "config/policy.toml",
    ROOT / "deploy/helm/payonce/files/alerts.yaml": ROOT / "deploy/alerts/payonce.rules.yaml",
    ROOT / "deploy/kustomize/base/policy.toml": ROOT / "config/policy.toml",
}

# What the chart decides, or what must not stand in values: a section, or a setting of one.
DECIDED = {
    "listen.proxy",
    "listen.admin",
    "listen.health",
    "listen.unix_socket",
    "store.kind",
    "store.path",
    "store.single_instance",
    "store.nodes",
    "store.topology",
    "store.master",
    "store.user",
    "store.password_file",
    "store.sentinel_password_file",
    "store.database",
    "store.ca_file",
    "store.prefix",
    "policy.path",
    "secret.file",
    "credential.file",
    "admin.token_file",
    "webhook.listen",
    "log.format",
    "tracing.headers_file",
}
DURATION = re.compile(r"\d+(ms|s|m|h|d)")
SIZE = re.compile(r"\d+([KMG]iB|B)")
# "# name = value" is a setting without a default; an example within prose is indented further.
UNSET = re.compile(r"^# (?=[a-z0-9_]+ = )", re.MULTILINE)


def kind(value):
    """What the values may hold where payonce.toml has `value`."""
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(value, float):
        return {"type": "number", "minimum": 0}
    if isinstance(value, list):
        return {"type": "array", "items": {"type": "string", "minLength": 1}}
    if DURATION.fullmatch(value):
        return {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}
    if SIZE.fullmatch(value):
        return {
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]+([KMG]iB|B)$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    return {"type": "string", "minLength": 1}


def settings_schema():
    """A schema of all settings that values may hold."""
    known = tomllib.loads(UNSET.sub("", SETTINGS.read_text()))
    sections = {}
    for section, names in known.items():
        free = {n: kind(v) for n, v in names.items() if f"{section}.{n}" not in DECIDED}
        if free:
            sections[section] = {
                "type": "object",
                "additionalProperties": False,
                "properties": free,
            }
    return {"type": "object", "additionalProperties": False, "properties": sections}


def schema():
    """The whole schema as it should be."""
    whole = json.loads(SCHEMA.read_text())
    whole["properties"]["settings"] = settings_schema()
    return json.dumps(whole, indent=2) + "\n"


def main():
    """Writes or checks."""
    wanted = {to: source.read_text() for to, source in COPIES.items() if source.exists()}
    wanted[SCHEMA] = schema()
    stale = [to for to, text in wanted.items() if not to.exists() or to.read_text() != text]
    if "--check" in sys.argv:
        names = ", ".join(str(to.relative_to(ROOT)) for to in stale)
        sys.exit(f"not up to date: {names}; run deploy/helm/sync.py" if stale else 0)
    for to in stale:
        to.write_text(wanted[to])


if __name__ == "__main__":
    main()
