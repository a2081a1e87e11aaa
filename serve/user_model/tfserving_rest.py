"""TensorFlow Serving's REST API for one model: the body of a request to arrays, and arrays to the body of the answer.

Rows go in under `instances` and come out under `predictions`, whole columns under `inputs` and `outputs`. As in
SageMaker's TensorFlow Serving image a bare array or object is taken for instances too, and JSON Lines and CSV for a
row a line. NumPy and the standard library only.
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.http.errors import BadRequest, from_body
from serve.user_model.signature import STRING, Signature, Tensor, TensorModel, shape_text

LINES = ("application/jsonlines", "application/jsons", "application/x-jsonlines", "application/x-ndjson")
CSV = "text/csv"
JSON = ("application/json", *LINES, CSV)
"""Media types that are read here."""

_DEEPEST = 32
"""Axes that an array of texts may have; NumPy's own limit is 64."""

_KEYS = ("instances", "inputs", "examples")
_KINDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers from 0 up", "b": "true and false"}


@dataclass(frozen=True)
class Call:
    """What a request asks for: a signature, and an array for each of its inputs that is given.

    `rows` is how many rows came as `instances`, and go back as `predictions`; None when columns came.
    """

    signature: str
    inputs: dict[str, NDArray[Any]]
    rows: int | None


def parse(data: bytes, media: str, model: TensorModel) -> Call:
    """Read a body of one of the media types in JSON. Raises BadRequest that says what is wrong with it."""
    document, bare = _document(data, media)
    name, signature = _signature(document, model)
    if ("instances" in document) == ("inputs" in document):
        raise BadRequest('The body must hold either "instances" (rows) or "inputs" (columns).')
    if "inputs" in document:
        return Call(name, _columns(document["inputs"], signature, name), None)
    rows = document["instances"]
    if not isinstance(rows, list):
        raise BadRequest('"instances" must be a list, with one element for each row; "inputs" takes a single value.')
    if not rows:
        raise BadRequest('"instances" is empty: send one row at least.')
    if bare and len(signature.inputs) == 1 and _is_one_row(rows, signature.inputs[0]):
        rows = [rows]
    return Call(name, _rows(rows, signature, name), len(rows))


def write(call: Call, outputs: Mapping[str, NDArray[Any]]) -> str:
    """The JSON text of the answer; `outputs` are the signature's by name.

    Raises BadRequest when rows were asked for and an output has not one for each of them.
    """
    values = {name: _plain(name, array) for name, array in outputs.items()}
    if call.rows is None:
        return json.dumps({"outputs": next(iter(values.values())) if len(values) == 1 else values})
    for name, array in outputs.items():
        if array.shape[:1] != (call.rows,):
            raise BadRequest(
                f"Output {name!r} has the shape {array.shape} and not one row for each of the {call.rows} instances: "
                'send "inputs" in place of "instances".'
            )
    if len(values) == 1:
        return json.dumps({"predictions": next(iter(values.values()))})
    columns = [[(name, row) for row in column] for name, column in values.items()]
    return json.dumps({"predictions": [dict(row) for row in zip(*columns, strict=True)]})


def _document(data: bytes, media: str) -> tuple[dict[str, Any], bool]:
    """The request as an object of TensorFlow Serving's, and whether it came as bare values."""
    try:
        if media == CSV:
            return {"instances": _csv(data.decode("utf-8-sig"))}, False
        values = _json(data, media)
    except csv.Error as error:
        raise BadRequest(f"The body is not CSV that can be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 text (byte {error.start}).") from error
    except RecursionError as error:
        raise BadRequest("The body is not JSON that can be read: it is nested too deeply.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"The body is not JSON ({where}: {error.msg}).") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise BadRequest(f"The body is not JSON that can be read: {error}.") from error
    if len(values) > 1:
        return {"instances": values}, False
    value = values[0]
    if isinstance(value, dict) and any(key in value for key in _KEYS):
        return value, False
    return {"instances": value if isinstance(value, list) else [value]}, True


def _json(data: bytes, media: str) -> list[Any]:
    """The one JSON value of a body, or those of its lines."""
    text = data.decode("utf-8-sig")
    if media not in LINES:
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            try:  # SageMaker's image takes lines for lines whatever their media type
                return _lines(text)
            except json.JSONDecodeError:
                raise error from None
    return _lines(text) or [json.loads(text)]


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _csv(text: str) -> list[Any]:
    """A row for each line: numbers where all are, else texts; of a single column the values themselves."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    try:
        values: list[list[Any]] = [[_number(cell) for cell in row] for row in rows]
    except ValueError:
        values = rows
    return [row[0] if len(row) == 1 else row for row in values]


def _number(text: str) -> int | float:
    if "_" in text:  # Python reads 1_000, which nobody writes into CSV
        raise ValueError
    try:
        return int(text)
    except ValueError:
        return float(text)


def _signature(document: Mapping[str, Any], model: TensorModel) -> tuple[str, Signature]:
    if "examples" in document:
        raise BadRequest('"examples" is for classify and regress, which are not served; send "instances" or "inputs".')
    name = document.get("signature_name") or model.default
    known = ", ".join(model.signatures)
    if name is None:
        raise BadRequest(f'The body names no signature: give "signature_name", one of {known}.')
    if not isinstance(name, str) or name not in model.signatures:
        raise BadRequest(f'"signature_name" is {_short(name)}, this model has {known}.')
    return name, model.signatures[name]


def _is_one_row(values: Sequence[Any], tensor: Tensor) -> bool:
    """Whether a bare array is a single row of the input: by its rank, and where that may be any, when it is flat.

    SageMaker's image tells by the second case alone; of a fixed rank no model takes both.
    """
    if any(isinstance(value, dict) for value in values):
        return False
    rank = 0
    value: Any = values
    while isinstance(value, list):
        rank, value = rank + 1, value[0] if value else None
    return rank == (1 if tensor.shape is None else len(tensor.shape) - 1)


def _rows(rows: Sequence[Any], signature: Signature, name: str) -> dict[str, NDArray[Any]]:
    """Instances -> columns: values of the one input, or objects with a value for each."""
    if len(signature.inputs) == 1:
        only = signature.inputs[0].name
        if all(isinstance(row, dict) and row.keys() == {only} for row in rows):
            rows = [row[only] for row in rows]
        elif any(isinstance(row, dict) and not _is_binary(row) for row in rows):
            raise BadRequest(f'"instances" holds objects with other names than the one input of {name!r}, {only!r}.')
        return {only: _array(rows, signature.inputs[0], '"instances"')}
    if not all(isinstance(row, dict) for row in rows):
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise BadRequest(f'"instances" must hold objects with a value for each of the inputs of {name!r}: {names}.')
    keys = rows[0].keys()
    if any(row.keys() != keys for row in rows):
        raise BadRequest('"instances" holds objects with different names: each row needs the same inputs.')
    return _columns({key: [row[key] for row in rows] for key in keys}, signature, name)


def _columns(given: Any, signature: Signature, name: str) -> dict[str, NDArray[Any]]:
    """Arrays by the names of the inputs; the array alone is enough where there is one input."""
    wanted = {tensor.name: tensor for tensor in signature.inputs}
    if not isinstance(given, dict) or _is_binary(given):
        if len(wanted) != 1:
            raise BadRequest(f'"inputs" must be an object with the inputs of {name!r}: {", ".join(wanted)}.')
        given = {next(iter(wanted)): given}
    if given.keys() != wanted.keys():
        raise BadRequest(
            f"Signature {name!r} takes the inputs {', '.join(wanted) or 'none'}; the request gives "
            f"{_short(', '.join(given)) if given else 'none'}."
        )
    return {key: _array(given[key], wanted[key], f"Input {key!r}") for key in wanted}


def _array(value: Any, tensor: Tensor, where: str) -> NDArray[Any]:
    """A JSON value -> the array of the input's dtype. Raises BadRequest for what does not fit it."""
    array = _strings(value, where) if tensor.dtype == STRING else _numbers(value, tensor, where)
    shape = tensor.shape
    fits = shape is None or (
        len(shape) == array.ndim and all(side in (None, own) for side, own in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise BadRequest(
            f"{where} has the shape {shape_text(array.shape)}, input {tensor.name!r} takes {tensor.dtype} "
            f"{shape_text(shape)}."
        )
    return array


def _numbers(value: Any, tensor: Tensor, where: str) -> NDArray[Any]:
    wanted = np.dtype(tensor.dtype)
    takes = f"input {tensor.name!r} takes {tensor.dtype}, {_KINDS[wanted.kind]} in lists of equal length"
    if _has_text(value):  # of which NumPy would make an array as wide as its longest text
        raise BadRequest(f"{where} holds text: {takes}.")
    try:
        found = np.asarray(value)
    except ValueError as error:
        raise BadRequest(f"{where} has lists of different lengths in it: {takes}.") from error
    empty = found.size == 0 and found.dtype != object
    kind = found.dtype.kind
    if wanted.kind in "iu" and kind in "fO" and not empty:  # what NumPy makes of whole numbers beyond int64
        whole = np.asarray(value, object)
        if all(type(number) is int for number in whole.flat):
            found, kind = whole, "i"
    if not empty and kind not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]:
        raise BadRequest(f"{where} holds {_found(found)}: {takes}.")
    if wanted.kind in "iu" and not empty:
        limits = np.iinfo(wanted)
        if found.min() < limits.min or found.max() > limits.max:
            raise BadRequest(f"{where} has numbers outside {limits.min} to {limits.max}: {takes}.")
    with np.errstate(over="ignore"):
        return found.astype(wanted)


def _has_text(value: Any) -> bool:
    """Whether there is a text in lists of lists; level by level, which takes about as long as NumPy does."""
    level = [value]
    while level:
        kinds = set(map(type, level))
        if str in kinds:
            return True
        level = list(chain.from_iterable(one for one in level if type(one) is list)) if list in kinds else []
    return False


def _found(array: NDArray[Any]) -> str:
    """What an array that does not fit holds, in JSON's words."""
    if array.dtype.kind == "f":
        return "numbers with a fraction"
    if array.dtype.kind in "iu":
        return "numbers"
    if array.dtype.kind == "b":
        return "true or false"
    return "null, objects, mixed values or numbers of too many digits"


def _encoded(item: Any, where: str, depth: int = 0) -> Any:
    """Return nested lists of texts, or of {"b64": ...}, as nested lists of bytes."""
    if depth > _DEEPEST:
        raise BadRequest(f"{where} has lists in lists more than {_DEEPEST} deep.")
    if isinstance(item, list):
        return [_encoded(one, where, depth + 1) for one in item]
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if _is_binary(item):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise BadRequest(f'{where} has a "b64" that is not base64: {error}.') from error
    raise BadRequest(f'{where} holds {_short(item)}: it takes texts, or {{"b64": ...}} for bytes.')


def _strings(value: Any, where: str) -> NDArray[np.object_]:
    """Nested lists of texts, or of {"b64": ...} for bytes -> an array of bytes objects."""
    nested = _encoded(value, where)
    shape: list[int] = []
    level = nested
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat: list[bytes] = []

    def walk(item: Any, depth: int) -> None:
        if isinstance(item, list) != (depth < len(shape)) or (isinstance(item, list) and len(item) != shape[depth]):
            raise BadRequest(f"{where} has lists of different lengths in it.")
        if isinstance(item, list):
            for one in item:
                walk(one, depth + 1)
        else:
            flat.append(item)

    walk(nested, 0)
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _is_binary(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _plain(name: str, array: NDArray[Any]) -> Any:
    """An array as JSON has it; bytes that are no text, or are under a name in `_bytes`, as {"b64": ...}."""
    if array.dtype.kind == "V":  # bfloat16, which JSON's numbers hold as well
        return array.astype(np.float32).tolist()
    if array.dtype.kind not in "OSU":
        return array.tolist()

    def text(item: Any) -> Any:
        if isinstance(item, list):
            return [text(one) for one in item]
        data = item if isinstance(item, bytes) else str(item).encode()
        try:
            if not name.endswith("_bytes"):
                return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        return {"b64": base64.b64encode(data).decode("ascii")}

    return text(array.tolist())


def _short(value: Any) -> str:
    """A value of the request as a sentence quotes it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return from_body(repr(text[:60] + "..." * (len(text) > 60)))
