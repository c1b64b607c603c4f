"""The stub of the C++ module names what is there, and nothing else."""

import ast
from pathlib import Path

import pytest

import cpdcomm
from cpdcomm import _C

STUB = ast.parse((Path(cpdcomm.__file__).parent / "_C.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def declared(body):
    """Names that a body of a stub gives."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return names


def own(thing):
    """Public names that a module or class has itself."""
    return {name for name in vars(thing) if not name.startswith("_")}


def test_the_module():
    assert {name for name in declared(STUB.body) if not name.startswith("_")} == own(_C)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class(name):
    stub = {one for one in declared(CLASSES[name].body) if not one.startswith("_")}
    assert stub == own(getattr(_C, name))


def test_the_package_is_typed():
    assert (Path(cpdcomm.__file__).parent / "py.typed").exists()
