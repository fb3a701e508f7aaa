"""The sidecar given by MutatingAdmissionPolicy: its versions, its expressions and their effect.

What Kyverno does in its place, and what is left out, is in test_admission_both.py. Kubernetes' schemas
judge the pods.
"""

import copy
import re

import pytest
from helm_python import errors

import manifests
from admission import BASE, OWN_GRACE, POLICY, REDIS, evaluate, matches, mutated, pod
from manifests import one, render, values_of

GROUP = "admissionregistration.k8s.io"


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


@pytest.fixture(scope="module")
def policy():
    """The rendered policy."""
    return one(render(values_of(REDIS, **POLICY)), "MutatingAdmissionPolicy")["spec"]


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
