"""The chart: what Helm, Kubernetes and payonce itself make of it."""

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from helm_python import chart, errors

import manifests
import sync
from conftest import ROOT, mounted
from manifests import CHART, CI_VALUES, NATIVE, OLDER, one, render, values_of

REDIS = CHART / "ci/redis-values.yaml"
PLAIN = CHART / "ci/plain-container-values.yaml"
SINGLE = CHART / "ci/single-values.yaml"
EVERYTHING = {"admission": {"kyverno": {"enabled": True}}}


def name(path):
    return path.stem


def test_what_is_repeated_in_deploy_is_up_to_date():
    asked = [sys.executable, ROOT / "deploy/helm/sync.py", "--check"]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("path", CI_VALUES, ids=name)
def test_helm_lints_it_without_a_warning(path):
    report = chart.lint(CHART, values_of(path), strict=True, kube_version="v1.36.0")
    assert report["total_charts_linted"] == 1
    worse_than_info = [m for m in report["messages"] if m["severity"] != 1]
    assert not worse_than_info and not report["errors"]


@pytest.mark.parametrize("kubernetes", NATIVE)
@pytest.mark.parametrize("path", CI_VALUES, ids=name)
def test_kubernetes_takes_all_that_is_rendered(path, kubernetes):
    # Nobody gives pods an ordinary container by a policy.
    more = {} if path == PLAIN else EVERYTHING
    manifests.validate(render(values_of(path, **more), kubernetes), kubernetes)


@pytest.mark.parametrize("kubernetes", OLDER)
def test_an_older_kubernetes_takes_the_ordinary_container(kubernetes):
    objects = render(values_of(PLAIN), kubernetes)
    manifests.validate(objects, kubernetes)
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert [c["name"] for c in pod["containers"]] == ["application", "payonce"]
    assert "restartPolicy" not in pod["containers"][1]


def test_a_file_on_a_claim_is_written_as_its_user():
    values = values_of(SINGLE, store={"existingClaim": "payonce"})
    pod = one(render(values), "Deployment")["spec"]["template"]["spec"]
    (state,) = [v for v in pod["volumes"] if v["name"] == "payonce-state"]
    assert state["persistentVolumeClaim"] == {"claimName": "payonce"}
    (sidecar,) = pod["initContainers"]
    assert pod["securityContext"]["fsGroup"] == sidecar["securityContext"]["runAsGroup"]


@pytest.mark.parametrize("kubernetes", ["1.30", "1.37"])
def test_an_ordinary_container_can_outlast_the_application_s_signal(kubernetes):
    values = values_of(PLAIN, sidecar={"preStopSleepSeconds": 10})
    objects = render(values, kubernetes)
    manifests.validate(objects, kubernetes)
    sidecar = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][1]
    assert sidecar["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


def test_an_older_kubernetes_is_refused_a_native_sidecar():
    with pytest.raises(errors.HelmError, match="sidecar.native needs Kubernetes 1.29"):
        render(values_of(REDIS), "1.28")


def test_the_pod_has_the_sidecar_before_the_application_and_tells_it_where():
    pod = one(render(values_of(REDIS)), "Deployment")["spec"]["template"]["spec"]
    (sidecar,) = pod["initContainers"]
    (application,) = pod["containers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("payonce", "Always")
    assert sidecar["image"].startswith("registry.example.com/payonce@sha256:")
    told = {"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:8420"}
    assert told in application["env"]
    assert pod["terminationGracePeriodSeconds"] >= 30 + 75
    assert not any("subPath" in mount for mount in sidecar["volumeMounts"])
    writable = [m["mountPath"] for m in sidecar["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/var/lib/payonce"]


@pytest.mark.parametrize("path", CI_VALUES, ids=name)
def test_payonce_takes_the_settings_and_the_policy_that_are_rendered(path, payonce, tmp_path):
    settings = mounted(render(values_of(path), "1.30"), tmp_path)
    asked = [payonce, "check", "--settings", settings]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def test_a_setting_that_holds_a_whole_number_stays_one():
    values = values_of(CHART / "ci/sentinel-values.yaml")
    text = one(render(values), "ConfigMap", "settings")["data"]["payonce.toml"]
    for line in ["max_attempts = 3", "budget_ratio = 0.25", "answer = 4194304", "bypass = false"]:
        assert f"\n{line}\n" in f"{text}\n"


def test_the_package_holds_all_that_the_folder_renders(tmp_path):
    archive = chart.package(CHART, destination=tmp_path)
    values = values_of(REDIS)
    assert render(values, at=archive) == render(values)
    with chart.Chart.load(archive) as loaded:
        assert not [file["name"] for file in loaded.files if file["name"].startswith("ci/")]


def test_every_setting_can_stand_in_the_values_or_is_the_chart_s():
    source = (ROOT / "src/settings/layers.rs").read_text()
    known = set(re.findall(r'^    "([a-z_]+\.[a-z0-9_]+)",$', source, re.MULTILINE))
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
    free = {
        f"{section}.{name}"
        for section, names in schema["properties"].items()
        for name in names["properties"]
    }
    assert len(known) > 60
    assert free <= known
    secret = {"store.password", "store.sentinel_password", "secret.value", "credential.value"}
    secret |= {"admin.token", "tracing.headers"}
    assert known - free == sync.DECIDED | secret | {"webhook.endpoints"}


def test_what_a_collector_asks_for_is_read_from_the_secret():
    tracing = {"otlp_endpoint": "https://otel.example.com", "sample_ratio": 0.1}
    anywhere = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    values = values_of(
        REDIS,
        settings={"tracing": tracing},
        secrets={"keys": {"traceHeaders": "trace-headers"}},
        networkPolicy={"egress": {"collectorTo": anywhere}},
    )
    text = one(render(values), "ConfigMap", "settings")["data"]["payonce.toml"]
    told = tomllib.loads(text)["tracing"]
    assert told == tracing | {"headers_file": "/run/secrets/payonce/trace-headers"}


def test_the_five_minutes_of_the_readme_render():
    text = (ROOT / "deploy/README.md").read_text()
    (command,) = re.findall(r"^helm install payonce (?:.*\\\n)+.*", text, re.MULTILINE)[:1]
    values = {}
    for path, value in re.findall(r"--set ([\w.]+)=(\S+)", command):
        *sections, last = path.split(".")
        at = values
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = yaml.safe_load(value)
    objects = render(values)
    manifests.validate(objects, "1.37")
    assert one(objects, "Deployment")


def test_a_watcher_is_payonce_alone_and_is_surveyed_like_the_others():
    more = {"watcher": {"enabled": True}, "webhook": {"service": {"enabled": False}}}
    objects = render(values_of(REDIS, **more, imagePullSecrets=["registry"]))
    deployment = one(objects, "Deployment", "watcher")["spec"]
    template = deployment["template"]
    pod = template["spec"]
    assert deployment["replicas"] == 1
    assert deployment["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    (container,) = pod["containers"]
    (sidecar,) = one(objects, "Deployment", "example")["spec"]["template"]["spec"]["initContainers"]
    own = {"restartPolicy", "ports", "env"}
    assert {k: v for k, v in container.items() if k not in own} == {
        k: v for k, v in sidecar.items() if k not in own
    }
    assert "restartPolicy" not in container and "initContainers" not in pod
    assert container["env"] == [{"name": "PAYONCE_WEBHOOK__LISTEN", "value": "off"}]
    assert pod["terminationGracePeriodSeconds"] == 75 + 5
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    selector = one(objects, "PodMonitor")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()


def test_each_deployment_selects_its_own_pods():
    objects = render(values_of(CHART / "ci/sentinel-values.yaml"), "1.36")
    selectors = [o["spec"]["selector"]["matchLabels"] for o in objects if o["kind"] == "Deployment"]
    labels = [
        o["spec"]["template"]["metadata"]["labels"] for o in objects if o["kind"] == "Deployment"
    ]
    assert len(selectors) == 2
    for selector in selectors:
        assert sum(selector.items() <= each.items() for each in labels) == 1


def service_for_webhooks(**webhook):
    """The Service, if there is one."""
    objects = render(values_of(REDIS, webhook=webhook))
    return next((o for o in objects if o["kind"] == "Service"), None)


def test_webhooks_have_a_service_at_the_pod_s_port():
    service = service_for_webhooks(service={"port": 80, "annotations": {"team": "shop"}})
    template = one(render(values_of(REDIS)), "Deployment")["spec"]["template"]
    assert service["metadata"]["name"] == "payonce-webhooks"
    assert service["metadata"]["annotations"] == {"team": "shop"}
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    (sidecar,) = template["spec"]["initContainers"]
    assert port["port"] == 80
    assert port["targetPort"] in [p["containerPort"] for p in sidecar["ports"]]
    # Stripe comes again; a pod that is not ready would only turn it away.
    assert "publishNotReadyAddresses" not in service["spec"]


def test_no_service_is_made_that_nobody_asked_for():
    assert service_for_webhooks(service={"enabled": False}) is None
    assert service_for_webhooks(enabled=False) is None


def alerts_of(**alerts):
    """The rendered alerts, by name, and the groups as they were written."""
    values = values_of(REDIS, monitoring={"alerts": alerts})
    groups = one(render(values), "PrometheusRule")["spec"]["groups"]
    return {r["alert"]: r for g in groups for r in g["rules"] if "alert" in r}, groups


def test_the_rules_are_rendered_as_they_are_written():
    written = yaml.safe_load((ROOT / "deploy/alerts/payonce.rules.yaml").read_text())
    assert alerts_of()[1] == written["groups"]


def test_alerts_bear_the_platform_s_labels_and_lead_to_its_runbook():
    written, _ = alerts_of()
    base = "https://git.example.com/payonce/blob/main"
    alerts, groups = alerts_of(runbookBase=f"{base}/", labels={"team": "payments", "area": "x"})
    for name, alert in alerts.items():
        assert alert["labels"] == {"team": "payments", "area": "x", **written[name]["labels"]}
        path = written[name]["annotations"]["runbook_url"]
        assert alert["annotations"]["runbook_url"] == f"{base}/{path}"
        assert (ROOT / path.partition("#")[0]).exists()
    records = [r for g in groups for r in g["rules"] if "record" in r]
    assert records
    assert not any("team" in r.get("labels", {}) for r in records)


# --- What the schema refuses ---------------------------------------------------------------------

BAD = [
    ({"imag": {}}, "imag"),
    ({"image": {"digest": "sha256:abc"}}, "digest"),
    ({"image": {"repository": "registry/payonce:latest@x"}}, "repository"),
    ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    ({"sidecar": {"native": "yes"}}, "native"),
    ({"sidecar": {"runAsUser": 0}}, "runAsUser"),
    ({"sidecar": {"resources": {"limits": {"memory": "lots"}}}}, "memory"),
    ({"sidecar": {"extraVolumeMounts": [{"name": "a", "mountPath": "/a", "subPath": "b"}]}}, "0"),
    ({"sidecar": {"privileged": True}}, "privileged"),
    ({"terminationGracePeriodSeconds": "120s"}, "terminationGracePeriodSeconds"),
    ({"settings": {"retry": {"max_attempt": 3}}}, "max_attempt"),
    ({"settings": {"retry": {"max_attempts": "3"}}}, "max_attempts"),
    ({"settings": {"retry": {"deadline": "70"}}}, "deadline"),
    ({"settings": {"retries": {}}}, "retries"),
    # What the chart decides, and what is secret, cannot be said a second time.
    ({"settings": {"listen": {"admin": "0.0.0.0:8421"}}}, "admin"),
    ({"settings": {"policy": {"path": "/tmp/policy.toml"}}}, "path"),
    ({"settings": {"store": {"password": "hunter2"}}}, "password"),
    ({"settings": {"tracing": {"headers_file": "/tmp/headers"}}}, "headers_file"),
    ({"settings": {"secret": {"value": "0123456789abcdef0123456789abcdef"}}}, "value"),
    ({"store": {"kind": "postgres"}}, "kind"),
    ({"store": {"redis": {"nodes": "redis://user:password@redis:6379"}}}, "nodes"),
    ({"store": {"redis": {"nodes": "redis:6379"}}}, "nodes"),
    ({"store": {"redis": {"topology": "sentinel"}}}, "master"),
    ({"store": {"redis": {"topology": "cluster", "database": 1}}}, "database"),
    ({"store": {"redis": {"prefix": "a b"}}}, "prefix"),
    ({"secrets": {"keys": {"stripe": "x"}}}, "stripe"),
    ({"webhook": {"enabled": True}}, "endpoints"),
    ({"webhook": {"endpoints": {"orders": {"path": "orders"}}}}, "orders"),
    ({"networkPolicy": {"applicationPorts": [8421]}}, "applicationPorts"),
    ({"networkPolicy": {"egress": {"exceptFromStripe": ["private"]}}}, "exceptFromStripe"),
    # Everything but everything.
    ({"networkPolicy": {"egress": {"exceptFromStripe": ["0.0.0.0/0"]}}}, "exceptFromStripe"),
    ({"networkPolicy": {"egress": {"exceptFromStripe": ["::/0"]}}}, "exceptFromStripe"),
    ({"networkPolicy": {"egress": {"dnsPorts": []}}}, "dnsPorts"),
    ({"networkPolicy": {"egress": {"storeTo": [{}]}}}, "storeTo"),
    ({"networkPolicy": {"monitoringFrom": [{}]}}, "monitoringFrom"),
    ({"networkPolicy": {"webhookFrom": [{}]}}, "webhookFrom"),
    ({"sidecar": {"listenOn": "127.0.0.1"}}, "listenOn"),
    ({"webhook": {"service": {"port": 0}}}, "port"),
    ({"monitoring": {"alerts": {"labels": {"severity": "page"}}}}, "severity"),
    ({"monitoring": {"alerts": {"runbookBase": "git.example.com"}}}, "runbookBase"),
    ({"monitoring": {"kind": "prometheus"}}, "kind"),
    ({"monitoring": {"interval": "often"}}, "interval"),
    ({"admission": {"failurePolicy": "Warn"}}, "failurePolicy"),
    ({"admission": {"mutatingAdmissionPolicy": {"apiVersion": "v1alpha1"}}}, "apiVersion"),
    ({"example": {"replicas": -1}}, "replicas"),
]


@pytest.mark.parametrize(("bad", "named"), BAD, ids=[str(bad) for bad, _ in BAD])
def test_the_schema_refuses(bad, named):
    with chart.Chart.load(CHART) as loaded:
        loaded.validate_schema(values_of(PLAIN))
        with pytest.raises(errors.HelmValuesError) as refused:
            loaded.validate_schema(manifests.merged(values_of(PLAIN), bad))
    assert named in str(refused.value)


# --- What only the templates can refuse ----------------------------------------------------------

UNFIT = [
    (PLAIN, {"image": {"repository": ""}}, "image.repository must be set"),
    (PLAIN, {"store": {"redis": {"nodes": ""}}}, "store.redis.nodes must be set"),
    (PLAIN, {"terminationGracePeriodSeconds": 79}, "is 79, and must be at least 80"),
    (PLAIN, {"settings": {"shutdown": {"drain": "2m"}}}, "must be at least 125"),
    (REDIS, {"terminationGracePeriodSeconds": 109}, "is 109, and must be at least 110"),
    (REDIS, {"applicationStopSeconds": 41}, "must be at least 121"),
    (REDIS, {"settings": {"shutdown": {"drain": "69s"}}}, "must not be less than settings.retry"),
    (REDIS, {"secrets": {"existingSecret": ""}}, "and there is no Secret"),
    (REDIS, {"secrets": {"values": {"a": "b"}}}, "one of them"),
    (SINGLE, {"secrets": {"keys": {"stripeKey": "missing"}}}, "which secrets.values has not"),
    (REDIS, {"secrets": {"keys": {"traceHeaders": "x"}}}, "settings.tracing.otlp_endpoint"),
    (SINGLE, {"example": {"replicas": 2}}, "the store is not shared"),
    (REDIS, {"store": {"existingClaim": "claim"}}, "is for store.kind=embedded"),
    (REDIS, {"policy": {"text": "version = 1", "existingConfigMap": "mine"}}, "one of them"),
    (REDIS, {"sidecar": {"preStopSleepSeconds": 5}}, "of no use to a native sidecar"),
    (PLAIN, {"sidecar": {"preStopSleepSeconds": 11}}, "must be at least 91"),
    (PLAIN, {"admission": {"kyverno": {"enabled": True}}}, "leave sidecar.native true"),
    (SINGLE, {"watcher": {"enabled": True}}, "cannot be watched from another pod"),
    (REDIS, {"watcher": {"enabled": True}}, "would lead some of them to the watcher"),
]


@pytest.mark.parametrize(("path", "unfit", "why"), UNFIT, ids=[why for _, _, why in UNFIT])
def test_the_templates_refuse(path, unfit, why):
    with pytest.raises(errors.HelmRenderError) as refused:
        render(values_of(path, **unfit), "1.30")
    assert why in str(refused.value)


def test_the_values_as_shipped_say_what_must_be_set():
    with pytest.raises(errors.HelmRenderError, match="must be set"):
        render({})


def test_another_chart_builds_its_pods_with_the_named_templates(tmp_path):
    team = tmp_path / "shop"
    shutil.copytree(CHART, team / "charts/payonce")
    (team / "templates").mkdir()
    (team / "Chart.yaml").write_text(
        "apiVersion: v2\nname: shop\nversion: 1.0.0\n"
        "dependencies:\n  - name: payonce\n    version: 0.1.0\n"
    )
    (team / "values.yaml").write_text(yaml.safe_dump({"payonce": values_of(SINGLE)}))
    (team / "templates/pod.yaml").write_text(
        """{{- with .Subcharts.payonce }}
apiVersion: v1
kind: Pod
metadata:
  name: shop
  labels:
    {{- include "payonce.podLabels" . | nindent 4 }}
  annotations:
    {{- include "payonce.podAnnotations" . | nindent 4 }}
spec:
  terminationGracePeriodSeconds: {{ include "payonce.grace" . }}
  initContainers:
    {{- include "payonce.container" . | nindent 4 }}
  containers:
    - name: shop
      image: shop:1
      env:
        {{- include "payonce.applicationEnv" . | nindent 8 }}
  volumes:
    {{- include "payonce.volumes" . | nindent 4 }}
{{- end }}
"""
    )
    objects = render({}, at=team)
    manifests.validate(objects, "1.36")
    pod = one(objects, "Pod")["spec"]
    assert pod["initContainers"][0]["name"] == "payonce"
    made = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    asked = {v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v}
    assert asked == made
