"""A hook on MXNet's C API that records the devices of each operator's inputs."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import mxnet as mx
import pytest
from mxnet.base import _LIB, check_call

ACROSS = ("_copyto",)
"""Operators that copy from one device to another."""


@dataclass
class Seen:
    """The calls inside a `watched` block."""

    contexts: set[mx.Context] = field(default_factory=set)
    mixed: list[str] = field(default_factory=list)
    """Calls with arrays on several devices."""


@contextmanager
def watched() -> Iterator[Seen]:
    """Record every operator, compiled graph and backward pass that is called inside the block."""
    seen = Seen()
    # For each function of the C API, the positions of two arguments: the number of arrays, and the arrays.
    functions = {"MXImperativeInvokeEx": (1, 2), "MXInvokeCachedOpEx": (1, 2)}
    with pytest.MonkeyPatch.context() as patch:
        for name, places in functions.items():
            patch.setattr(_LIB, name, _hook(getattr(_LIB, name), name, places, seen))
        yield seen


def _hook(call: Any, name: str, places: tuple[int, int], seen: Seen) -> Any:
    def hooked(*arguments: Any) -> int:
        count, arrays = (arguments[place] for place in places)
        contexts = {_context(arrays[index]) for index in range(getattr(count, "value", count))}
        seen.contexts |= contexts
        if len(contexts) > 1:
            seen.mixed.append(f"{name} on {', '.join(sorted(map(str, contexts)))}")
        return call(*arguments)

    return hooked


def _context(array: Any) -> mx.Context:
    kind, number = ctypes.c_int(), ctypes.c_int()
    check_call(_LIB.MXNDArrayGetContext(ctypes.c_void_p(array), ctypes.byref(kind), ctypes.byref(number)))
    return mx.Context(mx.Context.devtype2str[kind.value], number.value)
