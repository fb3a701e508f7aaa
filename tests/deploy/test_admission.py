"""The sidecar given by the cluster: the admission policies' versions, expressions and effect.

No API server is here. The expressions are evaluated by another implementation of CEL (cel-python;
test_admission_types.py has their types checked), what they yield is done to a pod by a JSON Patch
library, and Kubernetes' schemas judge the pod.
"""

import copy
import functools
import re

import celpy
import jmespath
import jsonpatch
import pytest
from celpy import celtypes
from helm_python import errors

import manifests
from manifests import CHART, one, render, values_of

GROUP = "admissionregistration.k8s.io"
REDIS = CHART / "ci/redis-values.yaml"
SECRETS = {"imagePullSecrets": ["registry", "mirror"]}
POLICY = {"admission": {"mutatingAdmissionPolicy": {"enabled": True}}, **SECRETS}
KYVERNO = {"admission": {"kyverno": {"enabled": True}}, **SECRETS}
IGNORE = {"admission": {"failurePolicy": "Ignore"}}
IMAGE = "registry.example.com/payonce"
# settings.shutdown.drain and 5 seconds.
OWN_GRACE = 80
WHY_NOT = "payonce/not-injected"
BASE = {"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:8420"}


def pod(annotations=None, **spec):
    """A pod as a team writes it, after the API server has filled in its defaults."""
    about = {"annotations": annotations} if annotations else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop", "labels": {"payonce": "enabled"}, **about},
        "spec": {
            "containers": [{"name": "shop", "image": "shop:1"}, {"name": "log", "image": "log:1"}],
            "terminationGracePeriodSeconds": 30,
            **spec,
        },
    }


# --- Which API is used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kubernetes", "version"),
    [("1.34", "v1beta1"), ("1.35", "v1beta1"), ("1.36", "v1"), ("1.37", "v1")],
)
def test_kubernetes_takes_the_policy_in_the_version_that_it_serves(kubernetes, version):
    objects = render(values_of(REDIS, **POLICY), kubernetes)
    for kind in ["MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"]:
        assert one(objects, kind)["apiVersion"] == f"{GROUP}/{version}"
    manifests.validate(objects, kubernetes)


def test_a_cluster_that_serves_the_beta_alone_gets_the_beta():
    serves = ["v1/Pod", f"{GROUP}/v1beta1/MutatingAdmissionPolicy"]
    objects = render(values_of(REDIS, **POLICY), "1.35", serves)
    assert one(objects, "MutatingAdmissionPolicyBinding")["apiVersion"] == f"{GROUP}/v1beta1"


@pytest.mark.parametrize(("kubernetes", "serves"), [("1.33", []), ("1.35", ["v1/Pod"])])
def test_a_cluster_without_the_api_is_told_what_it_lacks(kubernetes, serves):
    with pytest.raises(errors.HelmRenderError, match="admission.kyverno"):
        render(values_of(REDIS, **POLICY), kubernetes, serves)


# --- What the expressions do ---------------------------------------------------------------------


class Message(celtypes.MessageType):
    """A message of CEL's, such as JSONPatch or Object.spec."""


@functools.cache
def program(expression):
    """An expression, ready to be evaluated."""
    # The interpreter knows no types with dots: Object.spec.containers becomes Object_spec_containers.
    typed = re.compile(r"\b(Object(?:\.\w+)*)\{")
    flat = typed.sub(lambda found: found[1].replace(".", "_") + "{", expression)
    names = {*re.findall(r"\b(Object\w*)\{", flat), "JSONPatch"}
    environment = celpy.Environment(annotations={name: Message for name in names})
    return environment.program(environment.compile(flat))


def evaluate(expression, subject):
    """What CEL makes of `expression` for the pod `subject`, in Python's own types."""
    return plain(program(expression).evaluate({"object": celpy.json_to_cel(subject)}))


def plain(value):
    """A value of CEL's as one of Python's."""
    if isinstance(value, celtypes.BoolType):
        return bool(value)
    if isinstance(value, celtypes.IntType):
        return int(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return str(value)


def applied(subject, configuration):
    """A server-side apply, as far as the policy uses it: maps, and lists keyed by name."""
    if isinstance(subject, dict):
        added = {k: applied(subject.get(k), v) for k, v in configuration.items()}
        # An API server writes out no empty lists.
        return {**subject, **{k: v for k, v in added.items() if v != []}}
    if subject is None and isinstance(configuration, dict):
        return configuration
    if isinstance(configuration, list):
        out = list(subject or [])
        for item in configuration:
            at = next((i for i, o in enumerate(out) if o["name"] == item["name"]), None)
            if at is None:
                out.append(item)
            else:
                out[at] = applied(out[at], item)
        return out
    return configuration


@pytest.fixture(scope="module")
def policy():
    """The rendered policy."""
    return one(render(values_of(REDIS, **POLICY)), "MutatingAdmissionPolicy")["spec"]


def matches(policy, subject):
    """Whether the policy's conditions let it see the pod."""
    return all(evaluate(c["expression"], subject) for c in policy["matchConditions"])


def mutated(policy, subject):
    """The pod after all mutations, in their order."""
    for mutation in policy["mutations"]:
        if mutation["patchType"] == "ApplyConfiguration":
            said = evaluate(mutation["applyConfiguration"]["expression"], subject)
            subject = applied(subject, said)
        else:
            said = evaluate(mutation["jsonPatch"]["expression"], subject)
            subject = jsonpatch.apply_patch(subject, said)
    return subject


@pytest.fixture(scope="module")
def written():
    """The pod that the chart itself writes, for comparison."""
    return one(render(values_of(REDIS)), "Deployment")["spec"]["template"]["spec"]


PODS = {
    "bare": pod(),
    "with init containers": pod(initContainers=[{"name": "migrate", "image": "shop:1"}]),
    "with volumes": pod(volumes=[{"name": "tmp", "emptyDir": {}}]),
    "with variables": pod(
        containers=[{"name": "shop", "image": "shop:1", "env": [{"name": "A", "value": "1"}]}]
    ),
    "with a longer grace": pod(terminationGracePeriodSeconds=600),
    "with a secret for the registry": pod(imagePullSecrets=[{"name": "team"}, {"name": "mirror"}]),
    "with annotations": pod({"team": "shop"}),
    "that says it is not on the node's network": pod(hostNetwork=False),
}


@pytest.mark.parametrize("subject", PODS.values(), ids=PODS.keys())
def test_a_pod_gets_what_the_chart_would_have_written(policy, written, subject):
    assert matches(policy, subject)
    before = copy.deepcopy(subject)
    after = mutated(policy, subject)
    manifests.validate([after], "1.36")
    spec = after["spec"]
    assert spec["initContainers"][0] == written["initContainers"][0]
    theirs = before["spec"].get("initContainers", [])
    assert [c["name"] for c in spec["initContainers"][1:]] == [c["name"] for c in theirs]
    mine = before["spec"].get("volumes", [])
    assert spec["volumes"] == mine + written["volumes"]
    for container in spec["initContainers"][1:] + spec["containers"]:
        assert BASE in container["env"]
    own = before["spec"]["terminationGracePeriodSeconds"]
    assert spec["terminationGracePeriodSeconds"] == own + OWN_GRACE
    secrets = [s["name"] for s in spec["imagePullSecrets"]]
    assert len(secrets) == len(set(secrets))
    assert {"registry", "mirror"} <= set(secrets)
    assert after["metadata"] == before["metadata"]


def test_looking_again_changes_nothing_more(policy):
    after = mutated(policy, pod())
    assert matches(policy, after)
    assert mutated(policy, after) == after


def test_a_container_that_came_later_is_told_as_well(policy):
    after = mutated(policy, pod())
    after["spec"]["containers"].append({"name": "late", "image": "late:1"})
    again = mutated(policy, after)
    assert BASE in again["spec"]["containers"][-1]["env"]
    assert again["spec"]["initContainers"] == after["spec"]["initContainers"]


def test_an_application_that_says_where_keeps_its_word(policy):
    own = {"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:9999"}
    after = mutated(policy, pod(containers=[{"name": "shop", "image": "shop:1", "env": [own]}]))
    assert after["spec"]["containers"][0]["env"] == [own]


def test_an_init_container_that_says_where_keeps_its_word(policy):
    own = {"name": "STRIPE_API_BASE", "value": "https://api.stripe.com"}
    theirs = {"name": "migrate", "image": "shop:1", "env": [own]}
    after = mutated(policy, pod(initContainers=[theirs]))
    assert after["spec"]["initContainers"][1] == theirs


@pytest.mark.parametrize("own", [0, 30, 300])
def test_an_application_that_uses_all_of_its_time_leaves_payonce_its_own(policy, own):
    after = mutated(policy, pod(terminationGracePeriodSeconds=own))
    assert after["spec"]["terminationGracePeriodSeconds"] == own + OWN_GRACE


def test_a_longer_drain_makes_the_pod_s_time_longer():
    more = {"settings": {"shutdown": {"drain": "2m"}}, "terminationGracePeriodSeconds": 155}
    policy = one(render(values_of(REDIS, **POLICY, **more)), "MutatingAdmissionPolicy")["spec"]
    assert mutated(policy, pod())["spec"]["terminationGracePeriodSeconds"] == 30 + 120 + 5


def test_without_secrets_for_the_registry_none_are_named():
    values = values_of(REDIS, **POLICY) | {"imagePullSecrets": []}
    policy = one(render(values), "MutatingAdmissionPolicy")["spec"]
    assert "imagePullSecrets" not in mutated(policy, pod())["spec"]


def test_what_is_applied_holds_no_list_that_an_api_server_would_not_merge(policy):
    (applies,) = [m for m in policy["mutations"] if m["patchType"] == "ApplyConfiguration"]
    subject = pod(initContainers=[{"name": "migrate", "image": "shop:1"}])
    said = evaluate(applies["applyConfiguration"]["expression"], subject)
    assert said.keys() == {"spec"}
    assert said["spec"].keys() == {"containers", "initContainers"}
    for container in said["spec"]["containers"] + said["spec"]["initContainers"]:
        assert container == {"name": container["name"], "env": [BASE]}


def test_no_map_and_no_list_of_the_patch_holds_two_types(policy):
    """The API server compiles no others, and this interpreter does not mind."""
    (patches,) = [m for m in policy["mutations"] if m["patchType"] == "JSONPatch"]
    values = re.findall(r"value:\s*(\{\"[^\n]+\})\}?", patches["jsonPatch"]["expression"])
    assert len(values) > 5
    for value in values:
        for item in re.findall(r"(?:\": |[\[,] )(?!\")([^ ]+)", value):
            assert item.startswith("dyn("), item


def test_only_labelled_pods_of_labelled_namespaces_are_seen(policy):
    label = {"matchLabels": {"payonce": "enabled"}}
    binding = one(render(values_of(REDIS, **POLICY)), "MutatingAdmissionPolicyBinding")["spec"]
    assert policy["matchConstraints"]["objectSelector"] == label
    assert binding["matchResources"]["namespaceSelector"] == label
    assert binding["policyName"] == "payonce-sidecar"
    assert policy["failurePolicy"] == "Fail"


# --- Kyverno -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rules():
    """Its rules, by name."""
    said = one(render(values_of(REDIS, **KYVERNO)), "ClusterPolicy")["spec"]["rules"]
    return {rule["name"]: rule for rule in said}


def substituted(text, scope):
    """What Kyverno puts in the place of a string that is one variable."""
    if not (isinstance(text, str) and text.startswith("{{")):
        return text
    return jmespath.search(text.removeprefix("{{").removesuffix("}}"), scope)


def holds(conditions, scope):
    """Whether all of a list of conditions do."""
    return all(holding(each, scope) for each in conditions["all"])


def holding(condition, scope):
    """Whether one condition does, as far as the policy uses operators."""
    key, value = (substituted(condition[part], scope) for part in ["key", "value"])
    # A variable without a value is an error in Kyverno, and not null.
    assert key is not None and value is not None
    match condition["operator"]:
        case "Equals":
            return key == value
        case "NotEquals":
            return key != value
        case "AnyNotIn":
            return key not in value
    raise AssertionError(condition)


def kyverno_does(rules, subject):
    """What its rules come to for a pod: as `policy_does`."""
    scope = {"request": {"object": subject}}
    told = []
    if holds(rules["base"]["preconditions"], scope):
        for each in rules["base"]["mutate"]["foreach"]:
            for element in substituted("{{" + each["list"] + "}}", scope):
                inside = {**scope, "element": element}
                if holds(each["preconditions"], inside):
                    ((_, (patch,)),) = each["patchStrategicMerge"]["spec"].items()
                    assert patch["env"] == [BASE]
                    told.append(substituted(patch["name"], inside))
    why = None
    if holds(rules["not-injected"]["preconditions"], scope):
        patch = rules["not-injected"]["mutate"]["patchStrategicMerge"]
        why = substituted(patch["metadata"]["annotations"][WHY_NOT], scope)
    given = holds(rules["sidecar"]["preconditions"], scope)
    if given:
        spec = rules["sidecar"]["mutate"]["patchStrategicMerge"]["spec"]
        added = [*spec["initContainers"], *subject["spec"].get("initContainers", [])]
        subject = {**subject, "spec": {**subject["spec"], "initContainers": added}}
    denied = holds(
        rules["present"]["validate"]["deny"]["conditions"], {"request": {"object": subject}}
    )
    return {"given": given, "told": sorted(told), "why": why, "denied": denied}


def policy_does(policy, check, subject):
    """What the admission policies come to: whether they give the sidecar, which containers they tell
    where it is, why not, and whether the pod is refused."""
    before = containers(subject)
    after = mutated(policy, subject) if matches(policy, subject) else subject
    told = [n for n, c in containers(after).items() if n in before and c != before[n]]
    given = len(after["spec"].get("initContainers", [])) > len(
        subject["spec"].get("initContainers", [])
    )
    why = after["metadata"].get("annotations", {}).get(WHY_NOT)
    denied = not evaluate(check["validations"][0]["expression"], after)
    return {"given": given, "told": sorted(told), "why": why, "denied": denied}


def containers(subject):
    """All of a pod's, by name."""
    spec = subject["spec"]
    return {c["name"]: c for c in [*spec.get("initContainers", []), *spec["containers"]]}


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


@pytest.fixture(scope="module")
def check():
    """The policy that is asked after all mutations."""
    return one(render(values_of(REDIS, **POLICY)), "ValidatingAdmissionPolicy")["spec"]


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
