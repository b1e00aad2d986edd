"""Typeset the formulas of docstrings, which are written so that they can be read in a terminal.

A formula is an indented block before the parameters, in the notation of Python, with a few words:

    y = gamma * (x - mean) / sqrt(var + eps) + beta
    dx = dy where y > 0, else 0
    dbeta = sum of dy over the samples

A block with a line in any other form, such as an algorithm of matrices, is shown as it is written.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

GREEK = {"alpha": r"\alpha", "beta": r"\beta", "gamma": r"\gamma", "delta": r"\delta", "eps": r"\varepsilon"}
FUNCTIONS = {"exp": r"\exp", "log": r"\log", "max": r"\max", "min": r"\min"}
COMPARISONS = {ast.Lt: "<", ast.LtE: r"\le", ast.Gt: ">", ast.GtE: r"\ge", ast.Eq: "="}
SUM, PRODUCT, SIGN, POWER, ATOM = range(5)  # how strongly an expression holds together
WORDS = r"where|unless|if|which|clipped|on the|without"


def escaped(text: str) -> str:
    """Return text for TeX."""
    return text.replace("_", r"\_").replace("^", r"\^{}")


def name(text: str) -> str:
    """Typeset an identifier: one letter as a variable, several as a word."""
    if text in GREEK:
        return GREEK[text]
    if text == "xhat":
        return r"\hat{x}"
    if text.startswith("d") and len(text) > 1 and (text[1:] in GREEK or len(text) == 2):
        return rf"\mathrm{{d}}{name(text[1:])}"
    if match := re.fullmatch(r"(b)(\d)|(\w+)_(i)", text):
        letters, index = filter(None, match.groups())
        return rf"{name(letters)}_{{{index}}}"
    return text if len(text) == 1 else rf"\mathrm{{{escaped(text)}}}"


class Typesetter(ast.NodeVisitor):
    """Turns an expression into TeX and how strongly it holds together."""

    def inner(self, node: ast.expr, least: int) -> str:
        """Return the TeX of a part, in parentheses if it holds together less than the least."""
        tex, strength = self.visit(node)
        return tex if strength >= least else rf"\left({tex}\right)"

    def generic_visit(self, node: ast.AST) -> Any:
        raise SyntaxError(f"{type(node).__name__} is no part of a formula")

    def visit_Name(self, node: ast.Name) -> tuple[str, int]:
        return name(node.id), ATOM

    def visit_Constant(self, node: ast.Constant) -> tuple[str, int]:
        return str(node.value), ATOM

    def visit_UnaryOp(self, node: ast.UnaryOp) -> tuple[str, int]:
        if not isinstance(node.op, ast.USub):
            return self.generic_visit(node)
        return f"-{self.inner(node.operand, PRODUCT)}", SIGN if isinstance(
            node.operand, ast.Constant
        ) else PRODUCT

    def visit_BinOp(self, node: ast.BinOp) -> tuple[str, int]:
        match node.op:
            case ast.Add():
                return f"{self.inner(node.left, SUM)} + {self.inner(node.right, SUM)}", SUM
            case ast.Sub():
                return f"{self.inner(node.left, SUM)} - {self.inner(node.right, PRODUCT)}", SUM
            case ast.Mult():
                return self.product(node), PRODUCT
            case ast.Div():
                return rf"\frac{{{self.inner(node.left, SUM)}}}{{{self.inner(node.right, SUM)}}}", POWER
            case ast.Pow():
                return f"{self.inner(node.left, ATOM)}^{{{self.inner(node.right, SUM)}}}", POWER
        return self.generic_visit(node)

    def product(self, node: ast.BinOp) -> str:
        """Return factors beside each other, with a dot between words and before numbers."""
        left, right = self.inner(node.left, PRODUCT), self.inner(node.right, SIGN)
        dotted = right[0].isdigit() or (
            left.endswith("}") and right.startswith((r"\mathrm", r"\operatorname"))
        )
        return left + (r" \cdot " if dotted else r" \, ") + right

    def visit_Compare(self, node: ast.Compare) -> tuple[str, int]:
        tex = self.inner(node.left, SUM)
        for operator, right in zip(node.ops, node.comparators, strict=True):
            tex += f" {COMPARISONS[type(operator)]} {self.inner(right, SUM)}"
        return tex, SUM

    def visit_Call(self, node: ast.Call) -> tuple[str, int]:
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function == "sum":
            over = rf"_{{\text{{{node.args[1].value}}}}}" if len(node.args) == 2 else ""
            return rf"\sum{over} {self.inner(node.args[0], PRODUCT)}", PRODUCT
        arguments = ", ".join(self.inner(argument, SUM) for argument in node.args)
        if function == "sqrt":
            return rf"\sqrt{{{arguments}}}", ATOM
        if function == "abs":
            return rf"\left|{arguments}\right|", ATOM
        symbol = FUNCTIONS.get(function, rf"\operatorname{{{escaped(function)}}}")
        return rf"{symbol}\!\left({arguments}\right)", ATOM


def expression(text: str) -> str:
    """Typeset an expression; SyntaxError if it is none."""
    text = text.strip().replace("^", "**")
    text = re.sub(r"\bsum of ([^()]+?) (?:over|along) (?:the )?([\w ]+?)(?=\)|$)", r"sum(\1, '\2')", text)
    text = re.sub(r"\(sum of ([^()]+)\)", r"sum(\1)", text)
    text = re.sub(r"\bsum of (.+)$", r"sum(\1)", text)
    text = re.sub(r"\|([^|]+)\|", r"abs(\1)", text)
    text = re.sub(r"\b(\d)([a-z])", r"\1*\2", text)
    return Typesetter().visit(ast.parse(text, mode="eval").body)[0]


def words(text: str) -> str:
    """Typeset a condition: its names as names, the rest as text."""
    head, _, rest = text.partition(" ")
    if re.search("[<>]", rest) and ".." not in rest:
        return rf"\text{{{head} }} {expression(rest)}"
    return rf"\text{{{escaped(text)}}}"


def branch(text: str) -> tuple[str, str]:
    """Split an expression from the condition after it."""
    match = re.fullmatch(rf"(.+?)(?:,? +((?:{WORDS})\b.*)|,? {{2,}}(\(?[a-z].*))?", text.strip())
    assert match
    formula, *conditions = match.groups()
    return formula, next((one for one in conditions if one), "")


def right_side(text: str) -> str:
    """Typeset an expression with its conditions: as cases if there are several."""
    *_, note = [None, *re.findall(r" {2,}\((\w+=\w+)\)$", text)]
    if note:
        text = text[: text.rindex("(")].rstrip()
    parts = re.split(r",\s+(?=else |\S+ where )", text) if " where " in text else [text]
    found = [branch(re.sub(r"^else (.*)$", r"\1  else", part)) for part in parts]
    tail = rf" \qquad \text{{({escaped(note)})}}" if note else ""
    if len(found) == 1:
        formula, condition = found[0]
        return expression(formula) + (rf" \qquad {words(condition)}" if condition else "") + tail
    rows = r" \\ ".join(f"{expression(formula)} & {words(condition)}" for formula, condition in found)
    return rf"\begin{{cases}} {rows} \end{{cases}}{tail}"


def line(text: str) -> str:
    """Typeset one definition, aligned at its equality sign."""
    left, equals, right = text.partition(" = ")
    if not equals:
        return f"& {right_side(text)}"
    return f"{expression(left)} &= {right_side(right)}"


def typeset(block: list[str]) -> list[str] | None:
    """Return the TeX of the lines of a block, or None if one of them is not a formula."""
    definitions = [one for text in block for one in re.split(r"(?:;|,) {2,}(?=\|?\w+\|? = )", text.strip())]
    try:
        rows = [line(one) for one in definitions]
    except SyntaxError:
        return None
    return [r"\begin{aligned}", *(rf"{row} \\" for row in rows), r"\end{aligned}"]


def blocks(lines: list[str]) -> list[tuple[int, int]]:
    """Return where the indented blocks before the parameters begin and end."""
    rules = [number for number, text in enumerate(lines) if re.fullmatch(r"-{3,}", text)]
    stop = rules[0] - 1 if rules else len(lines)
    found, start = [], None
    for number in range(stop + 1):
        indented = number < stop and lines[number].startswith("    ")
        if indented and start is None and number and not lines[number - 1].strip():
            start = number
        elif not indented and start is not None:
            found.append((start, number))
            start = None
    return found


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replace the blocks of a docstring by directives."""
    found = blocks(lines)
    inside = {number for start, stop in found for number in range(start, stop)}
    for number, text in enumerate(lines):
        if number not in inside and ">>>" not in text:
            # |w| in a sentence is not the name of a substitution.
            lines[number] = re.sub(r"(?<![`\w])\|(\w+)\|", r"\|\1\|", text)
    for start, stop in reversed(found):
        block = lines[start:stop]
        tex = typeset(block)
        directive = ".. math::" if tex else ".. code-block:: none"
        lines[start:stop] = [
            directive,
            "",
            *(f"    {text.removeprefix(4 * chr(32))}" for text in tex or block),
            "",
        ]
        if start >= 2 and lines[start - 2].endswith("::"):
            lines[start - 2] = lines[start - 2][:-1]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx, before numpydoc."""
    app.connect("autodoc-process-docstring", process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
