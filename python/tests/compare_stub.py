"""Compares kfs/_kfs.pyi with the module: classes, methods, parameters, defaults."""

import ast
import inspect
import sys
from pathlib import Path

import kfs
from kfs import _kfs

stub = ast.parse(Path(kfs.__file__).with_name("_kfs.pyi").read_text())
differences = []


def parameters(function):
    every = [(p.name, p.kind.name, p.default is not p.empty) for p in inspect.signature(function).parameters.values()]
    return [p for p in every if p[0] != "self"]


def stub_parameters(function):
    given = function.args
    positional = [(a.arg, "POSITIONAL_OR_KEYWORD") for a in given.posonlyargs + given.args]
    defaults = [False] * (len(positional) - len(given.defaults)) + [True] * len(given.defaults)
    every = [(name, kind, default) for (name, kind), default in zip(positional, defaults)]
    every += [(a.arg, "KEYWORD_ONLY", d is not None) for a, d in zip(given.kwonlyargs, given.kw_defaults)]
    return [p for p in every if p[0] != "self"]


def compare(name, function, described):
    if name.endswith(("__enter__", "__exit__", "__len__")):
        return
    if parameters(function) != stub_parameters(described):
        differences.append(f"{name}: {parameters(function)} but in the stub {stub_parameters(described)}")


def is_property(node):
    return any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)


described = {node.name: node for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
public = {name for name in vars(_kfs) if not name.startswith("_")}
if public != set(described):
    differences.append(f"names differ: {sorted(public ^ set(described))}")
for name, node in described.items():
    if isinstance(node, ast.FunctionDef):
        compare(name, getattr(_kfs, name), node)
        continue
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    class_ = getattr(_kfs, name)
    public = {item for item in vars(class_) if not item.startswith("_")}
    if public != {item for item in methods if not item.startswith("_")}:
        differences.append(f"{name}: {sorted(public ^ set(methods))}")
    for method, item in methods.items():
        if not hasattr(class_, method):
            differences.append(f"{name}.{method} is in the stub only")
        elif not is_property(item):
            compare(f"{name}.{method}", getattr(class_, method), item)

sys.exit("\n".join(differences) or 0)
