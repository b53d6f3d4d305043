"""The tensors of a nested structure: dataclasses, lists and tuples of tensors and of what is not one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Tree = TypeVar("Tree")


def tree_leaves(tree: Any) -> Iterator[Tensor]:
    """All of them, always in the same order."""
    if isinstance(tree, Tensor):
        yield tree
    for part in _parts(tree):
        yield from tree_leaves(part)


def tree_map(tree: Tree, change: Callable[[Tensor], Tensor]) -> Tree:
    """The same structure of other tensors."""
    found: Any = tree
    if isinstance(tree, Tensor):
        found = change(tree)
    elif is_dataclass(tree) and not isinstance(tree, type):
        found = replace(tree, **{f.name: tree_map(getattr(tree, f.name), change) for f in fields(tree)})
    elif isinstance(tree, list | tuple):
        found = type(tree)(tree_map(part, change) for part in tree)
    return found


def tree_copy_(held: Any, tree: Any) -> None:
    """Write the tensors of `tree` into those of a structure of the same shapes; what is there already stays."""
    for mine, other in zip(tree_leaves(held), tree_leaves(tree), strict=True):
        if mine is not other:
            mine.copy_(other)


def _parts(tree: Any) -> list[Any]:
    if is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, f.name) for f in fields(tree)]
    return list(tree) if isinstance(tree, list | tuple) else []
