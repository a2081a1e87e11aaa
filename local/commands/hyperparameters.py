"""`python3 -m local hyperparameters ALGORITHM`: prints the table of hyperparameters in the algorithm's page of docs/.

Names, what is valid and defaults are those of the fields in train/ALGORITHM/hyperparameters.py; what each does is the
string below the field, there or in a base class.
"""

import argparse
import ast
import importlib
import inspect
from itertools import pairwise
from typing import Any, cast

from local.images import TRAINING
from train import fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("algorithm", metavar="ALGORITHM", choices=TRAINING, help=f"one of {', '.join(TRAINING)}")


def run(args: argparse.Namespace) -> int:
    """Print the table; returns 0."""
    print(table(args.algorithm))
    return 0


def table(algorithm: str) -> str:
    """Return all that an algorithm accepts as a Markdown table. Raises KeyError for a field without documentation."""
    lines = ["| name | valid | default | what it does |", "|---|---|---|---|"]
    for cls in importlib.import_module(f"train.{algorithm.replace('-', '_')}.hyperparameters").ACCEPTED:
        does = _documentation(cls)
        for name, row in fields.rows([cls]).items():
            cells = (f"`{name}`", row.valid, _default(row.default), does[name])
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _documentation(cls: type[Any]) -> dict[str, str]:
    """Return the strings below the attributes of a class by the attribute's name, in one line each."""
    found = {}
    for each in reversed(cls.__mro__[:-1]):
        definition = cast(ast.ClassDef, ast.parse(inspect.getsource(each)).body[0])  # a class's source is that alone
        for attribute, below in pairwise(definition.body):
            match attribute, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found


def _default(value: Any) -> str:
    """Return a default as users write it."""
    if isinstance(value, fields.NoDefault):
        return value.source
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)
