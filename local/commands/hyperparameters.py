"""`python3 -m local hyperparameters ALGORITHM`: print the table of hyperparameters for the algorithm's page in docs/.

Names, valid values and defaults come from the fields in train/ALGORITHM/hyperparameters.py; the descriptions are the
strings below the fields, there or in a base class.
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
    parser.add_argument("algorithm", metavar="ALGORITHM", choices=TRAINING, help=f"algorithm: {', '.join(TRAINING)}")


def run(args: argparse.Namespace) -> int:
    """Print the table and return 0."""
    print(table(args.algorithm))
    return 0


def table(algorithm: str) -> str:
    """Return an algorithm's hyperparameters as a Markdown table. Raises KeyError for a field without documentation."""
    lines = ["| name | valid | default | what it does |", "|---|---|---|---|"]
    for cls in importlib.import_module(f"train.{algorithm.replace('-', '_')}.hyperparameters").ACCEPTED:
        descriptions = _descriptions(cls)
        for name, row in fields.rows([cls]).items():
            valid = row.valid.partition(", because ")[0]  # the rest is for error messages
            cells = (f"`{name}`", valid, _default(row.default), descriptions[name])
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _descriptions(cls: type[Any]) -> dict[str, str]:
    """Return the strings below the attributes of a class, each on one line, by attribute name."""
    descriptions = {}
    for base in reversed(cls.__mro__[:-1]):
        definition = cast(ast.ClassDef, ast.parse(inspect.getsource(base)).body[0])
        for attribute, below in pairwise(definition.body):
            match attribute, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    descriptions[name] = " ".join(text.split())
    return descriptions


def _default(value: Any) -> str:
    """Return a default value as users write it."""
    if isinstance(value, fields.NoDefault):
        return value.source
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)
