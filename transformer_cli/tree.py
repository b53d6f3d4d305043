"""Operations on the tensors of nested dataclasses, lists and tuples; other values are left unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

Tree = TypeVar("Tree")


def tree_leaves(tree: Any) -> Iterator[Tensor]:
    """Iterate over the tensors of a structure in a deterministic order."""
    if isinstance(tree, Tensor):
        yield tree
    for child in _children(tree):
        yield from tree_leaves(child)


def tree_map(tree: Tree, fn: Callable[[Tensor], Tensor]) -> Tree:
    """Create a structure of the same form with `fn` applied to each tensor."""
    result: Any = tree
    if isinstance(tree, Tensor):
        result = fn(tree)
    elif is_dataclass(tree) and not isinstance(tree, type):
        result = replace(tree, **{f.name: tree_map(getattr(tree, f.name), fn) for f in fields(tree)})
    elif isinstance(tree, list | tuple):
        result = type(tree)(tree_map(child, fn) for child in tree)
    return result


def tree_copy_(target: Any, source: Any) -> None:
    """Copy the tensors of `source` into those of `target`, a structure of the same form and shapes."""
    for target_leaf, source_leaf in zip(tree_leaves(target), tree_leaves(source), strict=True):
        if target_leaf is not source_leaf:
            target_leaf.copy_(source_leaf)


def _children(tree: Any) -> list[Any]:
    if is_dataclass(tree) and not isinstance(tree, type):
        return [getattr(tree, f.name) for f in fields(tree)]
    return list(tree) if isinstance(tree, list | tuple) else []
