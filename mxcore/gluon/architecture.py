"""``Block.save`` and ``load``: the tree of blocks as JSON, in MXNet's form."""

import itertools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import FileFormatError
from ..files.atomic import atomic_write

if TYPE_CHECKING:
    from .plain_block import Block

__all__ = ["load", "save"]


def save(block: "Block", filename: str) -> None:
    """Write the tree below ``block``: what each parent calls its children, and the graphs of hybridized blocks."""
    numbers = itertools.count()
    tree = {_key(block, numbers): _described(block, numbers)}
    with atomic_write(filename, "w") as stream:
        stream.write(json.dumps(tree))


def load(block: "Block", filename: str) -> None:
    """Give the tree below ``block`` the children's names and the hybridization that a file tells.

    The graphs in the file are not used: the blocks are here and are traced again at their next call.

    Raises
    ------
    FileFormatError
        The file is no such tree, or one of other classes than ``block``'s.
    """
    try:
        with open(filename, encoding="utf-8") as stream:
            tree = json.load(stream)
    except ValueError as error:
        raise FileFormatError(f"{filename} does not hold the architecture of a block: {error}") from error
    numbers = itertools.count()
    _restore(block, _part(tree, _key(block, numbers), filename), numbers, filename)


def _key(block: "Block", numbers: Iterator[int]) -> str:
    return f"{type(block).__name__.lower()}{next(numbers)}"


def _described(block: "Block", numbers: Iterator[int]) -> dict[str, Any]:
    found: dict[str, Any] = {"orig_name": block.name}
    found.update(block._graph_description())
    found["children"] = {child.name: name for name, child in block._children.items()}
    for child in block._children.values():
        key = _key(child, numbers)  # numbered before what is below it
        found[key] = _described(child, numbers)
    return found


def _part(tree: Any, key: str, filename: str) -> dict[str, Any]:
    part = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(part, dict) or not isinstance(part.get("children"), dict):
        raise FileFormatError(f"{filename} has no block {key}: it was written by a network of another architecture")
    return part


def _restore(block: "Block", part: dict[str, Any], numbers: Iterator[int], filename: str) -> None:
    children = list(block._children.values())
    names = list(part["children"].values())
    if len(names) != len(children):
        raise FileFormatError(f"{filename} describes a {type(block).__name__} with {len(names)} children, "
                              f"this one has {len(children)}")
    for child in children:
        _restore(child, _part(part, _key(child, numbers), filename), numbers, filename)
    block._children = dict(zip(names, children, strict=True))
    if part.get("hybridized"):
        block.hybridize()
