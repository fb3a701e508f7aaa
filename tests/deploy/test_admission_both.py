"""Which pods get the sidecar, and which do not: the same by MutatingAdmissionPolicy and by Kyverno."""

import pytest

import manifests
from admission import (
    KYVERNO,
    OWN_GRACE,
    POLICY,
    REDIS,
    evaluate,
    kyverno_does,
    mutated,
    pod,
    policy_does,
    substituted,
)
from manifests import one, render, values_of

IMAGE = "registry.example.com/payonce"
IGNORE = {"admission": {"failurePolicy": "Ignore"}}


@pytest.fixture(scope="module")
def policy():
    """The rendered policy."""
    return one(render(values_of(REDIS, **POLICY)), "MutatingAdmissionPolicy")["spec"]


@pytest.fixture(scope="module")
def check():
    """The policy that is asked after all mutations."""
    return one(render(values_of(REDIS, **POLICY)), "ValidatingAdmissionPolicy")["spec"]


@pytest.fixture(scope="module")
def written():
    """The pod that the chart itself writes, for comparison."""
    return one(render(values_of(REDIS)), "Deployment")["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def rules():
    """Its rules, by name."""
    said = one(render(values_of(REDIS, **KYVERNO)), "ClusterPolicy")["spec"]["rules"]
    return {rule["name"]: rule for rule in said}


SERVING = {"name": "payonce", "restartPolicy": "Always"}
MINE = {"payonce/sidecar": "own"}
OWN_BASE = [{"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:9"}]
SHOP = {"name": "shop", "image": "shop:1"}
ON_NODE = "the pod has hostNetwork"
TAKEN = "Rename it"

# What is done to a pod: whether it is given the sidecar, who is told, why not, whether it is refused.
SHAPES = {
    "a plain pod": (pod(), (True, ["log", "shop"], None, False)),
    "a pod with an init container that pays": (
        pod(initContainers=[{"name": "migrate", "image": "shop:1"}]),
        (True, ["log", "migrate", "shop"], None, False),
    ),
    "a container with a base of its own": (
        pod(containers=[SHOP | {"env": OWN_BASE}, {"name": "log", "image": "log:1"}]),
        (True, ["log"], None, False),
    ),
    "an init container with a base of its own": (
        pod(containers=[SHOP], initContainers=[{"name": "m", "image": "m", "env": OWN_BASE}]),
        (True, ["shop"], None, False),
    ),
    "a container with other variables": (
        pod(containers=[SHOP | {"env": [{"name": "A", "value": "1"}]}]),
        (True, ["shop"], None, False),
    ),
    "the node's network": (pod(hostNetwork=True), (False, [], ON_NODE, False)),
    "the team's own sidecar on the node's network": (
        pod(hostNetwork=True, containers=[SHOP], initContainers=[SERVING | {"image": IMAGE}]),
        (False, ["shop"], None, False),
    ),
    "the team's own sidecar, by its tag": (
        pod(containers=[SHOP], initContainers=[SERVING | {"image": f"{IMAGE}:2"}]),
        (False, ["shop"], None, False),
    ),
    "the team's own sidecar, by its digest": (
        pod(containers=[SHOP], initContainers=[SERVING | {"image": f"{IMAGE}@sha256:00"}]),
        (False, ["shop"], None, False),
    ),
    "the team's own sidecar with an image from elsewhere": (
        pod(MINE, containers=[SHOP], initContainers=[SERVING | {"image": "mirror/proxy:1"}]),
        (False, ["shop"], None, False),
    ),
    "the same without the annotation": (
        pod(containers=[SHOP], initContainers=[SERVING | {"image": "mirror/proxy:1"}]),
        (False, [], TAKEN, True),
    ),
    "an image that only begins like payonce's": (
        pod(containers=[SHOP], initContainers=[SERVING | {"image": f"{IMAGE}-tools:1"}]),
        (False, [], TAKEN, True),
    ),
    "an init container that runs payonce once": (
        pod(containers=[SHOP], initContainers=[{"name": "payonce", "image": f"{IMAGE}:1"}]),
        (False, [], TAKEN, True),
    ),
    "the same with the annotation": (
        pod(MINE, containers=[SHOP], initContainers=[{"name": "payonce", "image": f"{IMAGE}:1"}]),
        (False, [], TAKEN, True),
    ),
    "the annotation of a sidecar that is not there": (
        pod(MINE, containers=[SHOP]),
        (True, ["shop"], None, False),
    ),
    "the team's own ordinary container": (
        pod(containers=[SHOP, {"name": "payonce", "image": f"{IMAGE}:1"}]),
        (False, [], None, False),
    ),
    "the same with an image from elsewhere": (
        pod(MINE, containers=[SHOP, {"name": "payonce", "image": "mirror/proxy:1"}]),
        (False, [], None, False),
    ),
    "an application that is called payonce": (
        pod(containers=[{"name": "payonce", "image": "shop:1"}]),
        (False, [], TAKEN, True),
    ),
}


@pytest.mark.parametrize(("subject", "wanted"), SHAPES.values(), ids=SHAPES.keys())
def test_both_mechanisms_do_the_same_to_a_pod(policy, check, rules, subject, wanted):
    given, told, why, denied = wanted
    by_policy = policy_does(policy, check, subject)
    assert (by_policy["given"], by_policy["told"], by_policy["denied"]) == (given, told, denied)
    assert (why in by_policy["why"]) if why else by_policy["why"] is None
    assert kyverno_does(rules, subject) == by_policy


def test_a_pod_that_lost_its_sidecar_to_another_policy_is_refused(policy, check):
    after = mutated(policy, pod())
    assert evaluate(check["validations"][0]["expression"], after)
    del after["spec"]["initContainers"][0]
    assert not evaluate(check["validations"][0]["expression"], after)


@pytest.mark.parametrize(
    ("more", "actions", "kyverno"),
    [({}, ["Deny"], "Enforce"), (IGNORE, ["Warn", "Audit"], "Audit")],
    ids=["Fail", "Ignore"],
)
def test_what_is_refused_is_only_warned_about_where_failures_are_ignored(more, actions, kyverno):
    values = manifests.merged(values_of(REDIS, **POLICY), manifests.merged(KYVERNO, more))
    objects = render(values)
    manifests.validate(objects, "1.36")
    assert one(objects, "ValidatingAdmissionPolicyBinding")["spec"]["validationActions"] == actions
    spec = one(objects, "ClusterPolicy")["spec"]
    assert spec["rules"][-1]["validate"]["failureAction"] == kyverno
    assert spec["emitWarning"] is True


def test_what_is_checked_are_the_pods_that_are_changed(policy, check):
    objects = render(values_of(REDIS, **POLICY))
    assert check["matchConstraints"] == policy["matchConstraints"]
    changed, checked = (
        one(objects, f"{kind}AdmissionPolicyBinding")["spec"] for kind in ["Mutating", "Validating"]
    )
    assert checked["matchResources"] == changed["matchResources"]
    assert checked["policyName"] == one(objects, "ValidatingAdmissionPolicy")["metadata"]["name"]


def test_a_pod_that_the_chart_writes_is_known_as_one_with_a_sidecar(policy, check, rules):
    """Whatever its image: the annotation comes with the named template."""
    template = one(render(values_of(REDIS)), "Deployment")["spec"]["template"]
    written = {"apiVersion": "v1", "kind": "Pod", **template}
    written["spec"]["initContainers"][0]["image"] = "mirror/other:1"
    said = policy_does(policy, check, written)
    assert said == {"given": False, "told": [], "why": None, "denied": False}
    assert kyverno_does(rules, written) == said


def test_a_watcher_is_left_as_it_is(policy, check, rules):
    more = {"watcher": {"enabled": True}, "webhook": {"service": {"enabled": False}}}
    template = one(render(values_of(REDIS, **more)), "Deployment", "watcher")["spec"]["template"]
    watcher = {"apiVersion": "v1", "kind": "Pod", **template}
    said = policy_does(policy, check, watcher)
    assert said == {"given": False, "told": [], "why": None, "denied": False}
    assert kyverno_does(rules, watcher) == said


def test_kyverno_adds_the_same_container_volumes_and_secrets(rules, written):
    spec = rules["sidecar"]["mutate"]["patchStrategicMerge"]["spec"]
    assert spec["initContainers"] == written["initContainers"]
    assert spec["volumes"] == written["volumes"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}, {"name": "mirror"}]


def test_kyverno_leaves_the_kubelet_s_variables_to_it():
    host = {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    collector = {"name": "PAYONCE_TRACING__OTLP_ENDPOINT", "value": "http://$(HOST_IP):4318"}
    values = values_of(REDIS, sidecar={"extraEnv": [host, collector]})
    values["networkPolicy"]["enabled"] = values["networkPolicy"]["egress"]["enabled"] = False
    objects = render(manifests.merged(values, manifests.merged(POLICY, KYVERNO)))
    spec = one(objects, "ClusterPolicy")["spec"]["rules"][1]["mutate"]["patchStrategicMerge"]["spec"]
    escaped = {**collector, "value": "http://\\$(HOST_IP):4318"}
    assert spec["initContainers"][0]["env"] == [host, escaped]
    policy = one(objects, "MutatingAdmissionPolicy")["spec"]
    assert mutated(policy, pod())["spec"]["initContainers"][0]["env"] == [host, collector]


@pytest.mark.parametrize("own", [0, 30, 600])
def test_kyverno_adds_payonce_s_time_to_the_pod_s(rules, own):
    spec = rules["sidecar"]["mutate"]["patchStrategicMerge"]["spec"]
    subject = {"request": {"object": pod(terminationGracePeriodSeconds=own)}}
    assert substituted(spec["terminationGracePeriodSeconds"], subject) == own + OWN_GRACE


def test_every_rule_of_kyverno_s_is_for_labelled_pods_of_labelled_namespaces(rules):
    label = {"matchLabels": {"payonce": "enabled"}}
    for rule in rules.values():
        (resources,) = [each["resources"] for each in rule["match"]["all"]]
        assert (resources["kinds"], resources["operations"]) == (["Pod"], ["CREATE"])
        assert resources["selector"] == resources["namespaceSelector"] == label
