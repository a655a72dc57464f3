"""Config files that are Python, as Open-Sora has them: read for their values, and never run."""

import ast
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

_OPERATORS: Final[Mapping[type[ast.AST], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def read_python_config(path: Path) -> dict[str, Any]:
    """Names and values of a file of assignments.

    Values are numbers, texts, `None`, `True`, `False`, lists, tuples, dicts, `dict(name=value)`, names from
    above, and sums, differences, products and quotients of numbers.

    Raises:
        ValueError: There is no such file, it is no Python, or it has anything else; one line.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is no Python: {error}") from None
    found: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        try:
            name, value = _assignment(statement)
            found[name] = _value(value, found)
        except (_NotPlainError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise ValueError(
                f"{path}, line {statement.lineno}: {error or 'this'}; allowed: NAME = numbers, texts, lists, "
                "tuples and dicts"
            ) from None
    return found


class _NotPlainError(Exception):
    """Something that only running the file could tell."""


def _assignment(statement: ast.stmt) -> tuple[str, ast.expr]:
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    else:
        raise _NotPlainError(f"{type(statement).__name__.lower()} is no assignment of one value")
    if not isinstance(target, ast.Name):
        raise _NotPlainError(f"{ast.unparse(target)} is no name")
    return target.id, value


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value) if not isinstance(value, bytes | complex) and value is not ...:
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            values = [_value(item, names) for item in items]
            return values if isinstance(node, ast.List) else tuple(values)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key is not None}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=pairs) if all(pair.arg for pair in pairs):
            return {pair.arg: _value(pair.value, names) for pair in pairs}
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            number = _number(operand, names)
            return -number if isinstance(sign, ast.USub) else number
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_number(left, names), _number(right, names))
        case _:
            raise _NotPlainError(f"{ast.unparse(node)[:60]} is no plain value")


def _number(node: ast.expr, names: Mapping[str, Any]) -> float:
    value = _value(node, names)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NotPlainError(f"{ast.unparse(node)[:60]} is no number")
    return value
