"""What help() tells: signatures and parameters of the compiled core, attributes of the first classes one meets."""

import ast
import inspect
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

import gicv3
from gicv3 import Gic, GICv3, GICv3Config, Line, VirtMachine, _core

_STUB = ast.parse((Path(gicv3.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
_CLASSES = {node.name: node for node in _STUB.body if isinstance(node, ast.ClassDef)}
_METHODS = {node.name: node for node in reversed(_CLASSES["Gic"].body)  # the getter, not the setter
            if isinstance(node, ast.FunctionDef) and node.name != "__new__"}
_PUBLIC = sorted(name for name in _METHODS if not name.startswith("_"))
_CALLED = sorted(name for name in _PUBLIC if callable(vars(Gic)[name]))


@pytest.mark.parametrize("name", [name for name in _PUBLIC if name != "config"])
def test_a_public_method_says_what_it_does(name: str) -> None:
    assert (inspect.getdoc(getattr(Gic, name)) or "").splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("name", ["Gic", "Line", "SavePoint", "SavedPe"])
def test_a_public_class_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(_core, name))


@pytest.mark.parametrize("name", _CALLED)
def test_a_signature_is_that_of_the_stub(name: str) -> None:
    arguments = _METHODS[name].args
    defaults: list[Any] = [inspect.Parameter.empty] * (len(arguments.args) - len(arguments.defaults))
    defaults += [ast.literal_eval(value) for value in arguments.defaults]
    shown = inspect.signature(getattr(Gic, name)).parameters.values()
    assert [(p.name, p.default) for p in shown] == [(a.arg, d) for a, d in zip(arguments.args, defaults, strict=True)]


@pytest.mark.parametrize("name", _CALLED)
def test_a_docstring_describes_every_parameter(name: str) -> None:
    described = inspect.getdoc(getattr(Gic, name)) or ""
    missing = [a.arg for a in _METHODS[name].args.args[1:] if f"\n{a.arg} : " not in described]
    assert missing == []


def test_every_output_line_is_described() -> None:
    described = {word for row in (inspect.getdoc(Line) or "").splitlines() for word in row.split(" : ")[0].split(", ")}
    assert {line.name for line in Line} <= described


def assert_attributes_are_described(thing: object) -> None:
    """What help() shows without a text, or not at all, is in the class docstring beneath "Attributes"."""
    described = (inspect.getdoc(type(thing)) or "").partition("\nAttributes")[2]
    missing = []
    for name in dir(thing):
        held = inspect.getattr_static(type(thing), name, None)
        shown = inspect.isroutine(held) or inspect.isgetsetdescriptor(held)
        shown |= isinstance(held, property | cached_property | classmethod)
        if not (name.startswith("_") or shown or re.search(rf"^ *(\w+, )*{name}(, \w+)* ?: ", described, re.MULTILINE)):
            missing.append(name)
    assert missing == []


def test_every_attribute_of_a_gic_is_described() -> None:
    assert_attributes_are_described(GICv3(GICv3Config(cpus=1)))


def test_every_attribute_of_a_machine_and_its_vcpus_is_described() -> None:
    machine = VirtMachine(cpus=1)
    assert_attributes_are_described(machine)
    assert_attributes_are_described(machine.cpus[0])


def test_every_attribute_of_a_unicorn_machine_and_every_end_of_its_run_is_described() -> None:
    pytest.importorskip("unicorn", exc_type=ImportError)
    from gicv3.unicorn import Stop, UnicornMachine

    with UnicornMachine(VirtMachine(cpus=1)) as engine:
        assert_attributes_are_described(engine)
    assert [stop.name for stop in Stop if f"\n{stop.name}: " not in (inspect.getdoc(Stop) or "")] == []
