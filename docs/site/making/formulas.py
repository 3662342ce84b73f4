"""Formulas of notebooks, a little of TeX, as HTML that needs no script: letters, powers, indices, roots, fractions."""

import html
import re

from resexp.core.errors import ResexpError

FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
SIGNS = {
    "pi": "π",
    "delta": "δ",
    "lambda": "λ",
    "sigma": "σ",
    "gamma": "γ",
    "beta": "β",
    "varepsilon": "ε",
    "sim": "∼",
    "approx": "≈",
    "infty": "∞",
    "times": "×",
    "cdot": "·",
    "le": "≤",
    "ge": "≥",
    "to": "→",
    "sum": "Σ",
    "prod": "Π",
    "quad": "\u2003",
    "qquad": "\u2003\u2003",
    ",": "\u2009",
    " ": " ",
}
UPRIGHT = ("mathrm", "mathcal", "mathbb", "mathbf", "text", "operatorname")
TOKEN = re.compile(r"\\([a-zA-Z]+|.)|([{}^_])|(\s+)|([A-Za-z]+)|(.)", re.DOTALL)


def as_html(tex: str) -> str:
    """The formula. Raises ResexpError where it has something that is not known."""
    tokens = [match[0] for match in TOKEN.finditer(tex.strip()) if not match[3]]
    parts = []
    while tokens:
        parts.append(_next(tokens, tex))
    return "".join(parts)


def _next(tokens: list[str], tex: str) -> str:
    """The first part of what is left, which it takes away."""
    if not tokens:
        raise ResexpError(f"The formula {tex} ends too early.")
    token = tokens.pop(0)
    if token == "{":
        parts = []
        while tokens and tokens[0] != "}":
            parts.append(_next(tokens, tex))
        tokens[:1] = []
        return "".join(parts)
    if token in "^_":
        return f"<{'sup' if token == '^' else 'sub'}>{_next(tokens, tex)}</{'sup' if token == '^' else 'sub'}>"
    if token.startswith("\\"):
        return _command(token[1:], tokens, tex)
    if token.isalpha():
        return f"<i>{token}</i>"
    return f" {html.escape(token)} " if token in "=+-<>" else html.escape(token.replace("'", "′"))


def _command(name: str, tokens: list[str], tex: str) -> str:
    if name in SIGNS:
        return SIGNS[name] if name not in {"sim", "approx", "le", "ge", "to"} else f" {SIGNS[name]} "
    if name in UPRIGHT:
        return re.sub(r"</?i>", "", _next(tokens, tex))
    if name == "sqrt":
        inside = _next(tokens, tex)
        return f"√{inside}" if len(re.sub(r"<.*?>", "", inside)) == 1 else f"√({inside})"
    if name == "frac":
        return f"{_next(tokens, tex)} / {_next(tokens, tex)}"
    raise ResexpError(f"docs/site/making/formulas.py does not know \\{name} of the formula {tex}.")
