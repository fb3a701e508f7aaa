"""What the admission policies make of a pod, worked out without an API server.

The CEL of MutatingAdmissionPolicy is evaluated by another implementation (cel-python;
test_admission_types.py has its types checked), and what it yields is done to the pod by a JSON Patch
library. Of Kyverno's policy the conditions and loops are evaluated, by Python's JMESPath.
"""

import functools
import re

import celpy
import jmespath
import jsonpatch
from celpy import celtypes

from manifests import CHART

REDIS = CHART / "ci/redis-values.yaml"
SECRETS = {"imagePullSecrets": ["registry", "mirror"]}
POLICY = {"admission": {"mutatingAdmissionPolicy": {"enabled": True}}, **SECRETS}
KYVERNO = {"admission": {"kyverno": {"enabled": True}}, **SECRETS}
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


# --- Kyverno -------------------------------------------------------------------------------------


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
