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
POLICY = {"admission": {"mutatingAdmissionPolicy": {"enabled": True}}}
KYVERNO = {"admission": {"kyverno": {"enabled": True}}}
BASE = {"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:8420"}


def pod(**spec):
    """A pod as a team writes it, after the API server has filled in its defaults."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop", "labels": {"payonce": "enabled"}},
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
        return {**subject, **added}
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
}


@pytest.mark.parametrize("subject", PODS.values(), ids=PODS.keys())
def test_a_pod_gets_what_the_chart_would_have_written(policy, written, subject):
    assert matches(policy, subject)
    before = copy.deepcopy(subject)
    after = mutated(policy, subject)
    manifests.validate([after], "1.36")
    spec = after["spec"]
    assert spec["initContainers"][0] == written["initContainers"][0]
    assert spec["initContainers"][1:] == before["spec"].get("initContainers", [])
    mine = before["spec"].get("volumes", [])
    assert spec["volumes"] == mine + written["volumes"]
    assert all(BASE in container["env"] for container in spec["containers"])
    assert spec["terminationGracePeriodSeconds"] == max(
        before["spec"]["terminationGracePeriodSeconds"], written["terminationGracePeriodSeconds"]
    )


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


def test_a_team_s_own_ordinary_container_is_left_alone(policy):
    assert not matches(policy, pod(containers=[{"name": "payonce", "image": "payonce:1"}]))


def test_what_is_applied_holds_no_list_that_an_api_server_would_not_merge(policy):
    (applies,) = [m for m in policy["mutations"] if m["patchType"] == "ApplyConfiguration"]
    said = evaluate(applies["applyConfiguration"]["expression"], pod())
    assert said.keys() == {"spec"}
    assert said["spec"].keys() == {"containers"}
    for container in said["spec"]["containers"]:
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


def test_kyverno_adds_the_same_container_and_volumes(written):
    rule = one(render(values_of(REDIS, **KYVERNO)), "ClusterPolicy")["spec"]["rules"][0]
    spec = rule["mutate"]["patchStrategicMerge"]["spec"]
    assert spec["initContainers"] == written["initContainers"]
    assert spec["volumes"] == written["volumes"]
    assert spec["containers"] == [{"(name)": "*", "env": [BASE]}]


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        (pod(), ["shop", "log"]),
        (pod(initContainers=[{"name": "payonce"}]), ["shop", "log", "payonce"]),
    ],
)
def test_kyverno_sees_the_names_of_all_containers(subject, names):
    rule = one(render(values_of(REDIS, **KYVERNO)), "ClusterPolicy")["spec"]["rules"][0]
    (condition,) = rule["preconditions"]["all"]
    asked = condition["value"].removeprefix("{{").removesuffix("}}")
    assert jmespath.search(asked, {"request": {"object": subject}}) == names
    assert (condition["key"], condition["operator"]) == ("payonce", "AnyNotIn")


@pytest.mark.parametrize(("given", "then"), [(30, 120), (600, 600)])
def test_kyverno_never_shortens_the_grace(given, then):
    rule = one(render(values_of(REDIS, **KYVERNO)), "ClusterPolicy")["spec"]["rules"][0]
    said = rule["mutate"]["patchStrategicMerge"]["spec"]["terminationGracePeriodSeconds"]
    asked = said.removeprefix("{{").removesuffix("}}")
    subject = {"request": {"object": pod(terminationGracePeriodSeconds=given)}}
    assert jmespath.search(asked, subject) == then
