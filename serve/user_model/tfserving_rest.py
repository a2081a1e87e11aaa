"""TensorFlow Serving's REST API for one model: parses the bodies of requests and writes those of responses.

A request with rows in `instances` returns `predictions`; one with columns in `inputs` returns `outputs`. As in
SageMaker's TensorFlow Serving image, a bare array or object also counts as instances, and JSON Lines and CSV have one
row per line. NumPy and the standard library only.
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
from serve.words import plural

LINES = ("application/jsonlines", "application/jsons", "application/x-jsonlines", "application/x-ndjson")
CSV = "text/csv"
JSON = ("application/json", *LINES, CSV)
"""The supported media types."""

_MAX_DEPTH = 32
"""Maximum number of axes of an array of strings. NumPy's limit is 64."""

_KEYS = ("instances", "inputs", "examples")
_KINDS = {"f": "numbers", "i": "whole numbers", "u": "whole numbers, 0 or more", "b": "true and false"}


@dataclass(frozen=True)
class Call:
    """The call in a request: a signature, and its inputs as arrays.

    `rows` is the number of `instances`, and so of `predictions`; None for a request with columns.
    """

    signature: str
    inputs: dict[str, NDArray[Any]]
    rows: int | None


def parse(data: bytes, media: str, model: TensorModel) -> Call:
    """Parse a body with a media type in `JSON`. Raises BadRequest."""
    document, bare = _document(data, media)
    name, signature = _signature(document, model)
    if ("instances" in document) == ("inputs" in document):
        raise BadRequest('The body must hold either "instances" (rows) or "inputs" (columns).')
    if "inputs" in document:
        return Call(name, _columns(document["inputs"], signature, name), None)
    rows = document["instances"]
    if not isinstance(rows, list):
        raise BadRequest('"instances" must be a list with one element per row; use "inputs" for a single value.')
    if not rows:
        raise BadRequest('"instances" is empty: send at least one row.')
    if bare and len(signature.inputs) == 1 and _is_one_row(rows, signature.inputs[0]):
        rows = [rows]
    return Call(name, _rows(rows, signature, name), len(rows))


def write(call: Call, outputs: Mapping[str, NDArray[Any]]) -> str:
    """Return the JSON text of the response with the signature's outputs by name.

    Raises BadRequest if the request had rows and an output does not have the same number of rows.
    """
    values = {name: _plain(name, array) for name, array in outputs.items()}
    if call.rows is None:
        return json.dumps({"outputs": next(iter(values.values())) if len(values) == 1 else values})
    for name, array in outputs.items():
        if array.shape[:1] != (call.rows,):
            raise BadRequest(
                f"Output {name!r} has the shape {array.shape} instead of {plural(call.rows, 'row')}, one per instance: "
                'send "inputs" instead of "instances".'
            )
    if len(values) == 1:
        return json.dumps({"predictions": next(iter(values.values()))})
    columns = [[(name, row) for row in column] for name, column in values.items()]
    return json.dumps({"predictions": [dict(row) for row in zip(*columns, strict=True)]})


def _document(data: bytes, media: str) -> tuple[dict[str, Any], bool]:
    """Return the request as TensorFlow Serving's JSON object, and whether it had bare values instead."""
    try:
        if media == CSV:
            return {"instances": _csv(data.decode("utf-8-sig"))}, False
        values = _json(data, media)
    except csv.Error as error:
        raise BadRequest(f"The body is not valid CSV: {error}.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 text (byte {error.start}).") from error
    except RecursionError as error:
        raise BadRequest("The JSON in the body is nested too deeply.") from error
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"The body is not JSON ({position}: {error.msg}).") from error
    except ValueError as error:  # a whole number with thousands of digits
        raise BadRequest(f"The JSON in the body cannot be read: {error}.") from error
    if len(values) > 1:
        return {"instances": values}, False
    value = values[0]
    if isinstance(value, dict) and any(key in value for key in _KEYS):
        return value, False
    return {"instances": value if isinstance(value, list) else [value]}, True


def _json(data: bytes, media: str) -> list[Any]:
    """Return the JSON value in a body, or the values on its lines."""
    text = data.decode("utf-8-sig")
    if media not in LINES:
        try:
            return [json.loads(text)]
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            try:  # SageMaker's image accepts JSON Lines with any media type
                return _lines(text)
            except json.JSONDecodeError:
                raise error from None
    return _lines(text) or [json.loads(text)]


def _lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _csv(text: str) -> list[Any]:
    """Return one row per line: numbers if all cells are numbers, else strings. A single column becomes plain values."""
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    try:
        values: list[list[Any]] = [[_number(cell) for cell in row] for row in rows]
    except ValueError:
        values = rows
    return [row[0] if len(row) == 1 else row for row in values]


def _number(text: str) -> int | float:
    if "_" in text:  # Python accepts 1_000, but that is not a number in CSV
        raise ValueError
    try:
        return int(text)
    except ValueError:
        return float(text)


def _signature(document: Mapping[str, Any], model: TensorModel) -> tuple[str, Signature]:
    if "examples" in document:
        raise BadRequest('"examples" (classify and regress) is not supported; send "instances" or "inputs".')
    name = document.get("signature_name") or model.default
    known = ", ".join(model.signatures)
    if name is None:
        raise BadRequest(f'"signature_name" is missing; it must be one of {known}.')
    if not isinstance(name, str) or name not in model.signatures:
        raise BadRequest(f'"signature_name" is {_short(name)}; it must be one of {known}.')
    return name, model.signatures[name]


def _is_one_row(values: Sequence[Any], tensor: Tensor) -> bool:
    """Return whether a bare array is a single row: it has the rank of a row, or is flat if the input takes any rank.

    SageMaker's image always treats a flat array as a row. With a fixed rank, there is no ambiguity.
    """
    if any(isinstance(value, dict) for value in values):
        return False
    rank = 0
    value: Any = values
    while isinstance(value, list):
        rank, value = rank + 1, value[0] if value else None
    return rank == (1 if tensor.shape is None else len(tensor.shape) - 1)


def _rows(rows: Sequence[Any], signature: Signature, name: str) -> dict[str, NDArray[Any]]:
    """Convert instances to columns. They are values of the only input, or objects with a value for each input."""
    if len(signature.inputs) == 1:
        only = signature.inputs[0].name
        if all(isinstance(row, dict) and row.keys() == {only} for row in rows):
            rows = [row[only] for row in rows]
        elif any(isinstance(row, dict) and not _is_binary(row) for row in rows):
            raise BadRequest(f'"instances" has objects with keys other than the only input of {name!r}, {only!r}.')
        return {only: _array(rows, signature.inputs[0], '"instances"')}
    if not all(isinstance(row, dict) for row in rows):
        names = ", ".join(tensor.name for tensor in signature.inputs)
        raise BadRequest(f'"instances" must contain objects with a value for each input of {name!r}: {names}.')
    keys = rows[0].keys()
    if any(row.keys() != keys for row in rows):
        raise BadRequest('"instances" has objects with different keys: each row needs the same inputs.')
    return _columns({key: [row[key] for row in rows] for key in keys}, signature, name)


def _columns(values: Any, signature: Signature, name: str) -> dict[str, NDArray[Any]]:
    """Return the inputs as arrays by name. If there is only one input, `values` may be the array itself."""
    tensors = {tensor.name: tensor for tensor in signature.inputs}
    if not isinstance(values, dict) or _is_binary(values):
        if len(tensors) != 1:
            raise BadRequest(f'"inputs" must be an object with the inputs of {name!r}: {", ".join(tensors)}.')
        values = {next(iter(tensors)): values}
    if values.keys() != tensors.keys():
        raise BadRequest(
            f"The signature {name!r} takes the inputs {', '.join(tensors) or 'none'}; the request has "
            f"{_short(', '.join(values)) if values else 'none'}."
        )
    return {key: _array(values[key], tensors[key], f"Input {key!r}") for key in tensors}


def _array(value: Any, tensor: Tensor, where: str) -> NDArray[Any]:
    """Convert a JSON value to an array of the input's dtype. Raises BadRequest if the value does not fit."""
    array = _strings(value, where) if tensor.dtype == STRING else _numbers(value, tensor, where)
    shape = tensor.shape
    fits = shape is None or (
        len(shape) == array.ndim
        and all(side in (None, actual) for side, actual in zip(shape, array.shape, strict=True))
    )
    if not fits:
        raise BadRequest(
            f"{where} has the shape {shape_text(array.shape)}; input {tensor.name!r} takes {tensor.dtype} "
            f"{shape_text(shape)}."
        )
    return array


def _numbers(value: Any, tensor: Tensor, where: str) -> NDArray[Any]:
    dtype = np.dtype(tensor.dtype)
    expected = f"input {tensor.name!r} takes {tensor.dtype}, {_KINDS[dtype.kind]} in lists of equal length"
    if _has_text(value):  # NumPy would create an array as wide as the longest string
        raise BadRequest(f"{where} contains text: {expected}.")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadRequest(f"{where} contains lists of different lengths: {expected}.") from error
    empty = array.size == 0 and array.dtype != object
    kind = array.dtype.kind
    if dtype.kind in "iu" and kind in "fO" and not empty:  # NumPy's result for whole numbers beyond int64
        whole = np.asarray(value, object)
        if all(type(number) is int for number in whole.flat):
            array, kind = whole, "i"
    if not empty and kind not in {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]:
        raise BadRequest(f"{where} contains {_content(array)}: {expected}.")
    if dtype.kind in "iu" and not empty:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            raise BadRequest(f"{where} has numbers outside {limits.min} to {limits.max}: {expected}.")
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def _has_text(value: Any) -> bool:
    """Return whether nested lists contain a string. Searches level by level, which is about as fast as NumPy."""
    level = [value]
    while level:
        kinds = set(map(type, level))
        if str in kinds:
            return True
        level = list(chain.from_iterable(item for item in level if type(item) is list)) if list in kinds else []
    return False


def _content(array: NDArray[Any]) -> str:
    """Describe the content of an array that does not fit, in JSON's terms."""
    if array.dtype.kind == "f":
        return "numbers with a fraction"
    if array.dtype.kind in "iu":
        return "numbers"
    if array.dtype.kind == "b":
        return "true or false"
    return "null, objects, mixed values or numbers with too many digits"


def _encoded(item: Any, where: str, depth: int = 0) -> Any:
    """Convert nested lists of strings, or of {"b64": ...}, to nested lists of bytes."""
    if depth > _MAX_DEPTH:
        raise BadRequest(f"{where} has lists nested more than {_MAX_DEPTH} deep.")
    if isinstance(item, list):
        return [_encoded(element, where, depth + 1) for element in item]
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass")
    if _is_binary(item):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError, TypeError) as error:
            raise BadRequest(f'{where} has a "b64" that is not base64: {error}.') from error
    raise BadRequest(f'{where} contains {_short(item)}: it takes strings, or {{"b64": ...}} for bytes.')


def _strings(value: Any, where: str) -> NDArray[np.object_]:
    """Convert nested lists of strings, or of {"b64": ...} for bytes, to an array of bytes objects."""
    nested = _encoded(value, where)
    shape: list[int] = []
    level = nested
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat: list[bytes] = []

    def walk(item: Any, depth: int) -> None:
        if isinstance(item, list) != (depth < len(shape)) or (isinstance(item, list) and len(item) != shape[depth]):
            raise BadRequest(f"{where} contains lists of different lengths.")
        if isinstance(item, list):
            for element in item:
                walk(element, depth + 1)
        else:
            flat.append(item)

    walk(nested, 0)
    array = np.empty(len(flat), object)
    array[:] = flat
    return array.reshape(shape)


def _is_binary(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _plain(name: str, array: NDArray[Any]) -> Any:
    """Convert an output to JSON values. Bytes become {"b64": ...} if they are not text or `name` ends with `_bytes`."""
    if array.dtype.kind == "V":  # bfloat16
        return array.astype(np.float32).tolist()
    if array.dtype.kind not in "OSU":
        return array.tolist()

    def text(item: Any) -> Any:
        if isinstance(item, list):
            return [text(element) for element in item]
        data = item if isinstance(item, bytes) else str(item).encode()
        try:
            if not name.endswith("_bytes"):
                return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        return {"b64": base64.b64encode(data).decode("ascii")}

    return text(array.tolist())


def _short(value: Any) -> str:
    """Quote a value of the request in a message."""
    text = value if isinstance(value, str) else json.dumps(value)
    return from_body(repr(f"{text[:60]}..." if len(text) > 60 else text))
