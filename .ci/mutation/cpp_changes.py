"""Small mistakes in C++ code, found by regular expressions, as the formatter makes the code uniform."""

import re
from collections.abc import Iterator
from pathlib import Path

from change import Change

# Not changed: strings, comments and lines about types.
SILENT = re.compile(
    r'R"(?P<mark>\w*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/'
    r"|^[ ]*(?:#|template\b|using\b|namespace\b|static_assert\b)[^\n]*",
    re.DOTALL | re.MULTILINE,
)
RULES = [
    (r" < ", [" <= ", " > "]),
    (r" <= ", [" < "]),
    (r" > ", [" >= ", " < "]),
    (r" >= ", [" > "]),
    (r" == ", [" != "]),
    (r" != ", [" == "]),
    (r" && ", [" || "]),
    (r" \|\| ", [" && "]),
    (r" \+ ", [" - "]),
    (r" - ", [" + "]),
    (r" \* ", [" / "]),
    (r" / ", [" * "]),
    (r" % ", [" / "]),
    (r" \+= ", [" -= ", " = "]),
    (r" -= ", [" += "]),
    (r" \*= ", [" /= "]),
    (r"(?<=[(=,?:] )-(?=[\w(])|(?<=[(\[])-(?=[\w(])|(?<=return )-(?=[\w(])", [""]),
    (r"!(?=[\w(])", [""]),
    (r"\bmin\b", ["max"]),
    (r"\bmax\b", ["min"]),
    (r"\btrue\b", ["false"]),
    (r"\bfalse\b", ["true"]),
    (r"(?<![\w.'])\d+(?![\w.'])", [r"(\g<0> + 1)", r"(\g<0> - 1)"]),
    (r"(?<![\w.'])0\.0?f?(?![\w.'])", ["1.0"]),
    (
        r"(?<![\w.'])(?!0\.0?f?\b)\d*\.\d+(?:e-?\d+)?f?\b|(?<![\w.'])(?!0\.)\d+\.(?:e-?\d+)?f?|\b\d+e-?\d+f?\b",
        [r"(\g<0> * 2)"],
    ),
    # Statements: assignments, calls, guards.
    (r"(?<=\n)[ ]+(?!return|const|auto|case)[\w:.>\[\]()*-]+ [-+*|&]?= [^;{}\n]*;(?=\n)", [";"]),
    (r"(?<=\n)[ ]+(?!return|throw)[\w:.>-]+\([^;{}\n]*\);(?=\n)", [";"]),
    (r"(?<=\n)[ ]+(?:throw|continue|break)\b[^;{}\n]*;(?=\n)", [";"]),
    (r"(?<=\n)[ ]+if \([^;{}\n]*\) [^;{}\n]*;(?=\n)", [";"]),
    (r"(?<=if \()[^;{}\n]*(?=\) [^;{}\n]*;\n)", [r"!(\g<0>)"]),
]


def changes(root: Path, path: Path) -> list[Change]:
    """All changes of a file, rule by rule."""
    source = (root / path).read_text()
    return [
        Change(
            path,
            source.count("\n", 0, start) + 1,
            range(0),
            *(len(source[:i].encode()) for i in (start, end)),
            new,
        )
        for start, end, new in _found(SILENT.sub(lambda match: re.sub(r"[^\n]", "\0", match[0]), source))
    ]


def _found(code: str) -> Iterator[tuple[int, int, str]]:
    for pattern, replacements in RULES:
        for match in re.finditer(pattern, code):
            start = (
                match.end() - len(match[0].lstrip(" ")) if pattern.startswith(r"(?<=\n)") else match.start()
            )
            for replacement in replacements:
                yield start, match.end(), match.expand(replacement)
