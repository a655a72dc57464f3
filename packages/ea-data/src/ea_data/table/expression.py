"""Conditions and values over the columns of a row: comparisons, arithmetic, and a few functions.

    (aes >= 4.5 or motion_score > 0.2) and "cat" in lower(text) and num_frames % 8 == 1

The words are Python's, of which only what is named here is understood; nothing is run. What a row does not
have is unknown: a comparison with it is unknown too, and a condition that stays unknown is not met.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from ea_data.table.texts import language, no_tokenizer, script

__all__ = ["FUNCTIONS", "Expression"]

_MOST_TEXT: Final = 2000
_DEEPEST: Final = 40
_COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_WRONG: Final = (TypeError, ValueError, ArithmeticError)


FUNCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "abs": abs,
    "language": language,
    "len": len,
    "lower": str.lower,
    "round": round,
    "script": script,
    "tokens": no_tokenizer,
    "words": lambda text: len(text.split()),
}
"""What may be called, with one value; beside them `given(COLUMN)`: whether a row has it."""


class Expression:
    """A condition or a value.

    Args:
        text: In words of Python, see above.
        functions: That may be called; `FUNCTIONS` by default.

    Raises:
        ValueError: Not such words.
    """

    def __init__(self, text: str, functions: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        self.text = text
        self._functions = FUNCTIONS if functions is None else functions
        if len(text) > _MOST_TEXT:
            raise ValueError(f"the expression has {len(text)} characters; allowed: at most {_MOST_TEXT}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise ValueError(f"{text[:80]!r} is no expression: {getattr(error, 'msg', error)}") from error
        self.columns: set[str] = set()
        self._check(self._tree, 0)

    def value(self, row: Mapping[str, Any]) -> Any:
        """What it comes to for a row; None where that is unknown.

        Raises:
            ValueError: Values that do not go together, such as a text and a number.
        """
        try:
            return self._of(self._tree, row)
        except _WRONG as error:
            raise ValueError(f"{self.text[:80]!r}: {error}") from error

    def is_met(self, row: Mapping[str, Any]) -> bool:
        """Whether it is true for a row; what is unknown is not.

        Raises:
            ValueError: See `value`; or it is no condition.
        """
        value = self.value(row)
        if value is not None and not isinstance(value, bool):
            raise ValueError(f"{self.text[:80]!r} is {value!r:.40}; allowed: a condition, such as aes > 5")
        return value is True

    def _check(self, node: ast.expr, depth: int) -> None:
        """Whether every part is understood."""
        known = depth <= _DEEPEST
        match node:
            case ast.BoolOp(values=parts):
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=part):
                parts = [part]
            case ast.Compare(left=left, ops=ops, comparators=others):
                parts, known = [left, *others], known and all(type(op) in _COMPARISONS for op in ops)
            case ast.BinOp(left=left, op=op, right=right):
                parts, known = [left, right], known and type(op) in _ARITHMETIC
            case ast.Call(func=ast.Name(id=name), args=[part], keywords=[]):
                known = known and (
                    name in self._functions or (name == "given" and isinstance(part, ast.Name))
                )
                parts = [part]
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                pass
            case ast.Name(id=name):
                self.columns.add(name)
                parts = []
            case ast.Constant(value=value):
                parts, known = [], known and isinstance(value, str | int | float | bool)
            case _:
                parts, known = [], False
        if not known:
            part = ast.unparse(node)[:60] if depth <= _DEEPEST else "..."
            functions = ", ".join((*self._functions, "given"))
            raise ValueError(
                f"{self.text[:80]!r}: {part} is not understood; allowed: columns, texts, numbers, and, or, "
                f"not, in, comparisons, + - * / // %, and {functions} of one value"
            )
        for part in parts:
            self._check(part, depth + 1)

    def _of(self, node: ast.expr, row: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return _known(row.get(name))
            case ast.BoolOp(op=op, values=parts):
                return self._either(parts, row, ends=isinstance(op, ast.Or))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compared([left, *others], ops, row)
            case ast.Call(func=ast.Name(id="given"), args=[ast.Name(id=name)]):
                return _known(row.get(name)) is not None
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                return [self._of(part, row) for part in parts]
            case _:
                return self._computed(node, row)

    def _computed(self, node: ast.expr, row: Mapping[str, Any]) -> Any:
        """One operation or function of values, all of which have to be known."""
        match node:
            case ast.UnaryOp(op=op, operand=part):
                work, parts = (operator.not_ if isinstance(op, ast.Not) else operator.neg), [part]
            case ast.BinOp(left=left, op=op, right=right):
                work, parts = _ARITHMETIC[type(op)], [left, right]
            case ast.Call(func=ast.Name(id=name), args=parts):
                work = self._functions[name]
            case _:
                raise AssertionError(node)
        values = [self._of(part, row) for part in parts]
        if any(isinstance(value, str) for value in values) and isinstance(node, ast.BinOp):
            raise TypeError("a text in arithmetic")
        return None if any(value is None for value in values) else work(*values)

    def _either(self, parts: list[ast.expr], row: Mapping[str, Any], *, ends: bool) -> bool | None:
        """`or` where True ends it, `and` where False does; else unknown if a part is."""
        values = [self._of(part, row) for part in parts]
        if wrong := [value for value in values if value is not None and not isinstance(value, bool)]:
            raise TypeError(f"{wrong[0]!r:.40} is no condition")
        return ends if ends in values else None if None in values else not ends

    def _compared(self, parts: list[ast.expr], ops: list[ast.cmpop], row: Mapping[str, Any]) -> bool | None:
        values = [self._of(part, row) for part in parts]
        if any(value is None for value in values):
            return None
        return all(_COMPARISONS[type(op)](*pair) for op, pair in zip(ops, pairwise(values), strict=True))


def _known(value: Any) -> Any:
    """None for what tables write where there is nothing."""
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value
