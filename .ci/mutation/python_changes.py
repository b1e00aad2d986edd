"""Small mistakes in Python code: operators, constants, arguments, conditions, statements."""

import ast
from collections.abc import Iterator
from pathlib import Path

from change import Change

COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
TWINS = [("min", "max"), ("minimum", "maximum"), ("any", "all"), ("floor", "ceil"), ("mean", "sum")]
TWINS += [("zeros", "ones"), ("zeros_like", "ones_like"), ("sin", "cos"), ("argmin", "argmax")]
OTHER = {name: twin for pair in TWINS for name, twin in (pair, pair[::-1])}

# Not changed: texts for people, and what only type checkers read.
SILENT = {"__repr__", "__str__", "TYPE_CHECKING", "__all__", "overload"}
UNREAD_FIELDS = {"annotation", "returns", "decorator_list"}
STATEMENTS = ast.Expr | ast.Assign | ast.AugAssign | ast.Delete | ast.Raise | ast.Continue | ast.Break


def changes(root: Path, path: Path) -> list[Change]:
    """All changes of a file, in the order of its syntax tree."""
    source = (root / path).read_bytes()
    lines = source.splitlines(keepends=True)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line))
    found = []
    tree = ast.parse(source)
    for node, scope, new in _visit(tree, range(0)):
        start, end = (
            begins[node.lineno - 1] + node.col_offset,
            begins[node.end_lineno - 1] + node.end_col_offset,
        )
        found.append(Change(path, node.lineno, scope, start, end, new))
    return found


def _visit(node: ast.AST, scope: range) -> Iterator[tuple[ast.AST, range, str]]:
    """(what is replaced, the lines of the function it stands in, what comes in its place)."""
    if _is_silent(node):
        return
    if isinstance(node, ast.FunctionDef):
        scope = range(node.lineno, node.end_lineno + 1)
    for old, new in _replacements(node):
        yield old, scope, new if isinstance(new, str) else f"({ast.unparse(new)})"
    if isinstance(node, ast.Raise):  # its message is a text
        return
    for field, value in ast.iter_fields(node):
        if field not in UNREAD_FIELDS:
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _visit(child, scope)


def _is_silent(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case (
            ast.FunctionDef(name=name)
            | ast.If(test=ast.Name(id=name))
            | ast.Assign(targets=[ast.Name(id=name)])
            | ast.FunctionDef(decorator_list=[ast.Name(id=name)])
        ):
            return name in SILENT
    return False


def _replacements(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | str]]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            for other in COMPARISONS[type(op)]:
                yield node, ast.Compare(left, [other()], [right])
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            yield node, ast.BinOp(right, ast.MatMult(), left)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            yield node, ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in OPERATORS:
            yield node, ast.unparse(ast.AugAssign(target, OPERATORS[type(op)](), value))
        case ast.BoolOp(op=op, values=values):
            yield node, ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield node, operand
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield test, ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=bool(value)):
            yield node, repr(not value)
        case ast.Constant(value=int(value)):
            yield from ((node, repr(value + step)) for step in (1, -1))
        case ast.Constant(value=float(value)):
            yield node, repr(value * 2 or 1.0)
        case ast.Constant(value=str(value)):
            yield node, repr(value + "_")
        case ast.Name(id=name) if name in OTHER:
            yield node, OTHER[name]
        case ast.Attribute(value=value, attr=name) if name in OTHER:
            yield node, ast.Attribute(value, OTHER[name])
        case ast.Call(func=function, args=arguments, keywords=keywords):
            for i in range(len(keywords)):
                yield node, ast.Call(function, arguments, keywords[:i] + keywords[i + 1 :])
            if len(arguments) > 1:
                yield node, ast.Call(function, [arguments[1], arguments[0], *arguments[2:]], keywords)
        case ast.Return(value=ast.expr()):
            yield node, "return None"
    if isinstance(node, STATEMENTS):
        yield node, "pass"
