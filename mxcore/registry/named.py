"""Classes found by name: initializers, metrics and whatever else users create from a string.

MXNet offers these functions as ``mx.registry``. Each family of classes is known by its base class; the nickname
(``"initializer"``, ``"metric"``) is what errors and JSON configurations call a member.

>>> class Shape: ...
>>> register = get_register_func(Shape, "shape")
>>> @register
... class Circle(Shape): ...
>>> isinstance(get_create_func(Shape, "shape")("circle"), Circle)
True
"""

import json
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError

__all__ = ["RegistrationError", "get_alias_func", "get_create_func", "get_register_func", "get_registry"]

#: base class -> lower-case name -> class
_CLASSES: dict[type, dict[str, type]] = {}


class RegistrationError(ArgumentError, AssertionError):
    """A name is not registered, or what should be registered does not belong to the family."""


def get_registry(base_class: type) -> dict[str, type]:
    """A copy of the table of a family: lower-case name -> class."""
    return dict(_CLASSES.get(base_class, {}))


def get_register_func(base_class: type, nickname: str) -> Callable[..., type]:
    """A function (usable as a decorator) that enters a subclass of ``base_class`` under its own or a given name.

    Entering a second class under a taken name replaces the first, with a warning.
    """
    table = _CLASSES.setdefault(base_class, {})

    def register(klass: type, name: str | None = None) -> type:
        if not (isinstance(klass, type) and issubclass(klass, base_class)):
            raise RegistrationError(f"Can only register subclass of {base_class.__name__}, not {klass!r}")
        key = (klass.__name__ if name is None else name).lower()
        if key in table:
            old = table[key]
            warnings.warn(f"New {nickname} {klass.__module__}.{klass.__name__} registered with name {key} is "
                          f"overriding existing {nickname} {old.__module__}.{old.__name__}", UserWarning, stacklevel=2)
        table[key] = klass
        return klass

    register.__doc__ = f"Register {nickname} to the {nickname} factory"
    return register


def get_alias_func(base_class: type, nickname: str) -> Callable[..., Callable[[type], type]]:
    """A decorator factory: ``@alias("a", "b")`` enters a class under further names."""
    register = get_register_func(base_class, nickname)

    def alias(*aliases: str) -> Callable[[type], type]:
        def enter(klass: type) -> type:
            for name in aliases:
                register(klass, name)
            return klass

        return enter

    alias.__doc__ = f"Enter a {nickname} under further names"
    return alias


def get_create_func(base_class: type, nickname: str) -> Callable[..., Any]:
    """A function that makes an instance from what users give.

    It takes an instance (returned as it is), a name with arguments, the JSON text ``'["name", {arguments}]'``, or a
    configuration (``dict`` or JSON object) that holds the name under ``nickname``.

    Raises (the returned function)
    ------------------------------
    RegistrationError
        The name is unknown, is no text, or arguments came with an instance.
    """
    table = _CLASSES.setdefault(base_class, {})

    def create(*args: Any, **kwargs: Any) -> Any:
        if args:
            name, args = args[0], args[1:]
        elif nickname in kwargs:
            name = kwargs.pop(nickname)
        else:
            raise RegistrationError(f"the name of the {nickname} to create is missing; there are {', '.join(table)}")
        if isinstance(name, base_class):
            if args or kwargs:
                raise RegistrationError(f"{nickname} is already an instance. Additional arguments are invalid")
            return name
        if isinstance(name, dict):
            return create(**name)
        if not isinstance(name, str):
            raise RegistrationError(f"{nickname} must be of string type, not {type(name).__name__}")
        if name[:1] in ("[", "{"):
            if args or kwargs:
                raise RegistrationError(f"{name} says all about the {nickname}. Additional arguments are invalid")
            return create(**json.loads(name)) if name[0] == "{" else _create_pair(create, *json.loads(name))
        klass = table.get(name.lower())
        if klass is None:
            raise RegistrationError(f"{name} is not registered. Please register with {nickname}.register first; "
                                    f"there are {', '.join(sorted(table))}")
        return klass(*args, **kwargs)

    create.__doc__ = (f"Create a {nickname} from its name and arguments, from JSON text, or from a configuration; "
                      f"an instance is returned as it is.")
    return create


def _create_pair(create: Callable[..., Any], name: str, arguments: dict[str, Any]) -> Any:
    return create(name, **arguments)
