#!/usr/bin/env python3
"""Makes config/operation-fields.tsv: which top-level parameters each write of Stripe's takes.

`payonce check` warns of a policy that names a field which an operation does not have. The names
are facts, read from the source of the published stripe-python package: its services say which
method and path a call sends, and which TypedDict its parameters are. Nothing is imported or run.

    python3 config/operation-fields.py tests/.tools/python-newest > config/operation-fields.tsv

The argument is any directory that holds the package; ./tests/run installs it there. A test runs
this again and compares. Only POST, and DELETE of v2: no other request can be critical.

A line: method, path, names. After a name, `[]` marks an array, `{}` an object, `{*}` a map whose
keys the application chooses (such as metadata). An operation without a line is not known.
"""

import ast
import re
import sys
from pathlib import Path


def main():
    found = sorted(Path(sys.argv[1]).rglob("stripe/_stripe_service.py"))
    if not found:
        sys.exit(f"no stripe package below {sys.argv[1]}")
    package = found[0].parent
    operations = {}
    for service in sorted(package.rglob("*_service.py")):
        for method, path, fields in calls(package, service):
            known = operations.setdefault((path, method), {})
            for name, shape in fields.items():
                known[name] = shape if known.get(name, shape) == shape else ""
    print("method\tpath\tfields")
    for (path, method), fields in sorted(operations.items()):
        names = " ".join(name + shape for name, shape in sorted(fields.items()))
        print(f"{method}\t{path}\t{names}")


def calls(package, service):
    """Method, path and fields of every call that a service can make."""
    tree = ast.parse(service.read_text())
    modules = imports(tree)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for call in ast.walk(function):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            if call.func.attr != "_request":
                continue
            method, path = call.args[0].value.upper(), template(call.args[1])
            if method == "POST" or (method == "DELETE" and path.startswith("/v2/")):
                yield method, path, parameters(package, modules, function)


def imports(tree):
    """Which module each imported name comes from."""
    return {
        alias.asname or alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def template(path):
    """The path as written, whether or not an id is put in."""
    if isinstance(path, ast.Call):
        path = path.func.value
    return re.sub(r"\{[^}]*\}", "{id}", path.value)


def parameters(package, modules, function):
    """The fields of the TypedDict that annotates `params`; none if there is no such argument."""
    for argument in function.args.args:
        if argument.arg == "params":
            names = re.findall(r"\w*Params\b", ast.unparse(argument.annotation))
            return typed_dict(package, modules[names[0]], names[0])
    return {}


def typed_dict(package, module, name):
    source = package.parent / (module.replace(".", "/") + ".py")
    classes = {
        node.name: node for node in ast.parse(source.read_text()).body if isinstance(node, ast.ClassDef)
    }
    fields = {}
    for line in classes[name].body:
        if isinstance(line, ast.AnnAssign):
            fields[line.target.id] = mark(line.annotation)
    # A name that is no Python identifier, or a keyword (`from`), is given in the functional form:
    # Base = TypedDict("Base", {"from": …}).
    for base in classes[name].bases:
        fields.update(functional(source, ast.unparse(base)))
    return fields


def functional(source, base):
    for node in ast.parse(source.read_text()).body:
        named = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == base
        if named and isinstance(node.value, ast.Call) and len(node.value.args) > 1:
            entries = node.value.args[1]
            return {
                key.value: mark(value)
                for key, value in zip(entries.keys, entries.values)
            }
    return {}


def mark(annotation):
    """What the value can be, where it cannot also be a plain one."""
    marks = {kind(member) for member in members(annotation)} - {None}
    return "" if len(marks) != 1 else marks.pop()


def members(node):
    """The members of a union, without what wraps them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return members(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp):
        return members(node.left) + members(node.right)
    if isinstance(node, ast.Subscript) and name_of(node) in ("NotRequired", "Optional", "Union"):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return [member for each in inner for member in members(each)]
    return [node]


def kind(node):
    """`None` for the empty text alone, which unsets what is otherwise an array, object or map."""
    name = name_of(node)
    if name == "Literal":
        return None if ast.unparse(node) == "Literal['']" else ""
    if name in ("Dict", "UntypedStripeObject"):
        return "{*}"
    if name in ("List", "list"):
        return "[]"
    return "" if name in ("str", "int", "float", "bool", "Decimal", "Any", "None") else "{}"


def name_of(node):
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.id if isinstance(node, ast.Name) else ast.unparse(node)


if __name__ == "__main__":
    main()
