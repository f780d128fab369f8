"""What a module computes, as a text that is the same for every Python version: the standard library alone, so that any can be asked."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import groupby


def skeleton(node: object) -> str:
    """A syntax tree as text, without docstrings and without what Python versions write differently.

    These are empty fields, kinds of constants, the pieces that a formatted string is cut into, and which characters are printable.
    """
    if isinstance(node, list):
        return f"[{','.join(skeleton(n) for n in node if not _is_docstring(n))}]"
    if isinstance(node, ast.JoinedStr):
        return f"JoinedStr(values=[{','.join(_pieces(node.values))}])"
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name not in ("kind", "ctx")]
        return f"{type(node).__name__}({','.join(f'{name}={skeleton(value)}' for name, value in fields)})"
    return ascii(node)


def _pieces(values: Sequence[ast.expr]) -> Iterator[str]:
    """The parts of a formatted string: texts beside each other as one, empty ones left out."""
    for is_text, group in groupby(values, key=lambda value: isinstance(value, ast.Constant)):
        if not is_text:
            yield from map(skeleton, group)
        elif text := "".join(str(value.value) for value in group if isinstance(value, ast.Constant)):
            yield skeleton(ast.Constant(text))


def _is_docstring(node: object) -> bool:
    """A string on its own: the documentation of a module, a class, a function or the field above it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
