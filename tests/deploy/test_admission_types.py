"""The admission policy's expressions, compiled by Google's own CEL against types of a pod.

An API server compiles them so, against types that it makes of its schemas. Here they are the parts of
a pod that the expressions use, declared as messages.
"""

import re

import pytest
from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

from manifests import CHART, one, render, values_of

POLICY = {
    "admission": {"mutatingAdmissionPolicy": {"enabled": True}},
    "imagePullSecrets": ["registry"],
}
FIELD = descriptor_pb2.FieldDescriptorProto
PLAIN = {"string": FIELD.TYPE_STRING, "int": FIELD.TYPE_INT64, "bool": FIELD.TYPE_BOOL}
JSONS = {"any": "google.protobuf.Value", "map": "google.protobuf.Struct"}
# A message cannot be named like a field beside it, so that dots become underlines.
MESSAGES = {
    "JSONPatch": {"op": "string", "path": "string", "from": "string", "value": "any"},
    "Object": {"metadata": "Object_metadata", "spec": "Object_spec"},
    "Object_metadata": {"annotations": "map"},
    "Object_spec": {
        "containers": ["Object_spec_containers"],
        "initContainers": ["Object_spec_initContainers"],
        "volumes": ["Object_spec_volumes"],
        "imagePullSecrets": ["Object_spec_imagePullSecrets"],
        "terminationGracePeriodSeconds": "int",
        "hostNetwork": "bool",
    },
    "Object_spec_containers": {
        "name": "string",
        "image": "string",
        "env": ["Object_spec_containers_env"],
    },
    "Object_spec_containers_env": {"name": "string", "value": "string"},
    "Object_spec_initContainers": {
        "name": "string",
        "image": "string",
        "restartPolicy": "string",
        "env": ["Object_spec_initContainers_env"],
    },
    "Object_spec_initContainers_env": {"name": "string", "value": "string"},
    "Object_spec_imagePullSecrets": {"name": "string"},
    "Object_spec_volumes": {"name": "string"},
}


def descriptors():
    """The messages, and JSON's own."""
    file = descriptor_pb2.FileDescriptorProto(
        name="pod.proto", syntax="proto2", dependency=["google/protobuf/struct.proto"]
    )
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(fields.items(), 1):
            many = isinstance(kind, list)
            kind = kind[0] if many else kind
            label = FIELD.LABEL_REPEATED if many else FIELD.LABEL_OPTIONAL
            one_field = made.field.add(name=field, number=number, label=label)
            if kind in PLAIN:
                one_field.type = PLAIN[kind]
            else:
                one_field.type = FIELD.TYPE_MESSAGE
                one_field.type_name = f".{JSONS.get(kind, kind)}"
    pool = descriptor_pool.DescriptorPool()
    json = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(json)
    pool.Add(json)
    pool.Add(file)
    return pool


@pytest.fixture(scope="module")
def environment():
    """Where `object` is a pod."""
    return cel.NewEnv(descriptors(), variables={"object": cel.Type("Object")})


def flat(expression):
    """With names of types as they are here."""
    typed = re.compile(r"\b(Object(?:\.\w+)+)\{")
    return typed.sub(lambda found: found[1].replace(".", "_") + "{", expression)


@pytest.fixture(scope="module")
def expressions():
    """All of the policy's: name → text, and the type that the API server wants of it."""
    objects = render(values_of(CHART / "ci/redis-values.yaml", **POLICY))
    policy = one(objects, "MutatingAdmissionPolicy")["spec"]
    said = {c["name"]: (c["expression"], "BOOL") for c in policy["matchConditions"]}
    for mutation in policy["mutations"]:
        if mutation["patchType"] == "JSONPatch":
            said["patch"] = (mutation["jsonPatch"]["expression"], "LIST<JSONPatch>")
        else:
            said["apply"] = (mutation["applyConfiguration"]["expression"], "Object")
    (check,) = one(objects, "ValidatingAdmissionPolicy")["spec"]["validations"]
    return said | {"present": (check["expression"], "BOOL")}


def test_every_expression_compiles_to_the_type_that_is_wanted(environment, expressions):
    assert len(expressions) == 4
    for text, wanted in expressions.values():
        assert environment.compile(flat(text)).return_type().name() == wanted


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("no-ordinary-payonce", "c.name", "c.nam"),
        ("apply", "name: c.name", "name: 1"),
        ("apply", "c.env.exists", "c.envs.exists"),
        ("patch", "op:", "operation:"),
        ("patch", "terminationGracePeriodSeconds : 30", 'terminationGracePeriodSeconds : "30"'),
        ("patch", "s.name ==", "s.named =="),
        ("apply", "annotations: {", "annotation: {"),
        ("apply", "Object.spec.initContainers{", "Object.spec.containers{"),
        ("present", "c.restartPolicy ==", "c.restart =="),
        ("present", "object.spec.hostNetwork", "object.spec.hostNet"),
    ],
)
def test_an_expression_with_a_mistake_does_not(environment, expressions, name, right, wrong):
    text, _ = expressions[name]
    assert right in text
    with pytest.raises(Exception, match=r"undefined field|no matching overload|type|undeclared"):
        environment.compile(flat(text.replace(right, wrong, 1)))
