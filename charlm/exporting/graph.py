"""An ONNX graph, written by a computation on numpy arrays while it runs.

The step of a network is written over an array module, so it need not be written again as a graph.
It is run once, by numpy, on arrays that have no rows and so no numbers: each operation adds a node,
and numpy tells the shape of what comes out. A size of 0 is the batch, which stays open; no other
size is 0. Operators are those of ONNX operator set 18.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from charlm.errors import ConfigError

UFUNCS = {
    np.add: "Add",
    np.subtract: "Sub",
    np.multiply: "Mul",
    np.divide: "Div",
    np.matmul: "MatMul",
    np.maximum: "Max",
    np.minimum: "Min",
    np.negative: "Neg",
    np.absolute: "Abs",
    np.exp: "Exp",
    np.log: "Log",
    np.sqrt: "Sqrt",
    np.tanh: "Tanh",
    np.greater: "Greater",
    np.greater_equal: "GreaterOrEqual",
    np.less: "Less",
    np.less_equal: "LessOrEqual",
    np.bitwise_and: "And",  # of truth values: a step has no integers but ids
}


class Graph:
    """The nodes and constants of a graph, in the order in which they were made."""

    def __init__(self) -> None:
        import onnx  # here because it may not be installed

        self._onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._known: dict[tuple[Any, ...], Traced] = {}

    def weight(self, name: str, value: np.ndarray) -> "Traced":
        """A constant of that name."""
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name)
        self.constants.append(tensor)
        return Traced(self, name, value)

    def add(
        self,
        operator: str,
        inputs: Sequence[Any],
        value: np.ndarray,
        *integers: Sequence[int],
        name: str | None = None,
        **attributes: Any,
    ) -> "Traced":
        """What `operator` makes of traced arrays, and of others, which are constants.

        Constants take the type of the traced arrays that they meet; `integers` come last and say
        where or how large. The result has the shape and the dtype of `value`.
        """
        (dtype, *_) = (one.dtype for one in reversed(inputs) if isinstance(one, Traced))
        names = [
            one.name if isinstance(one, Traced) else self.constant(one, dtype).name
            for one in inputs
        ]
        names += [self.constant(numbers, np.dtype(np.int64)).name for numbers in integers]
        name = name or f"{operator}.{len(self.nodes)}"
        node = self._onnx.helper.make_node(operator, names, [name], name=name, **attributes)
        self.nodes.append(node)
        return Traced(self, name, value)

    def constant(self, numbers: Any, dtype: np.dtype) -> "Traced":
        """A constant of that type, or of truth values; equal ones are one."""
        value = np.asarray(numbers)
        value = value if value.dtype == bool else value.astype(dtype)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = self.weight(f"constant.{len(self._known)}", value)
        return self._known[key]


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array, to numpy and to its users, that stands for a value of the graph.

    `value` has its shape and dtype. Whatever is asked of it that no graph does raises ConfigError.
    """

    unknown = True  # for ops.most

    def __init__(self, graph: Graph, name: str, value: np.ndarray) -> None:
        self.graph = graph
        self.name = name
        self.value = value

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: self.value.device)
    T = property(lambda self: self._transposed(range(self.ndim)[::-1]))

    def swapaxes(self, one: int, other: int) -> "Traced":
        """The array with two axes in each other's place."""
        order = list(range(self.ndim))
        order[one], order[other] = order[other], order[one]
        return self._transposed(order)

    def reshape(self, *shape: Any) -> "Traced":
        """The same numbers in another shape."""
        sizes = list(shape[0] if isinstance(shape[0], tuple) else shape)
        if -1 in sizes:  # which numpy can't find where there are no rows
            known = math.prod(size for size in sizes if size > 0)
            sizes[sizes.index(-1)] = math.prod(size for size in self.shape if size) // known
        open_sizes = [size or -1 for size in sizes]
        return self.graph.add("Reshape", [self], self.value.reshape(sizes), open_sizes)

    def sum(self, axis: int, keepdims: bool = False) -> "Traced":
        """The sum over an axis."""
        value = self.value.sum(axis, keepdims=keepdims)
        return self.graph.add("ReduceSum", [self], value, [axis], keepdims=int(keepdims))

    def clip(self, low: float) -> "Traced":
        """The array with `low` where it is below."""
        return _clip(self.graph, self, low, np.inf)

    def take(self, ids: "Traced", axis: int) -> "Traced":
        """The entries at ids, along an axis."""
        return self.graph.add("Gather", [self, ids], self.value.take(ids.value, axis), axis=axis)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, where: Any) -> "Traced":
        where = list(where) if isinstance(where, tuple) else [where]
        if Ellipsis not in where:
            where.append(Ellipsis)
        at = where.index(Ellipsis)
        rest = self.ndim - sum(one is not None for one in where) + 1
        where[at : at + 1] = [slice(None)] * rest
        # First what is cut out, then the axes that go, then those that are new.
        taken = [one for one in where if one is not None]
        cuts = [slice(one, one + 1 or None) if isinstance(one, int) else one for one in taken]
        gone = [axis for axis, one in enumerate(taken) if isinstance(one, int)]
        left = [one for one in where if not isinstance(one, int)]
        new = [axis for axis, one in enumerate(left) if one is None]
        return self._cut(cuts)._with_axes("Squeeze", gone)._with_axes("Unsqueeze", new)

    def _cut(self, cuts: list[slice]) -> "Traced":
        axes = [axis for axis, cut in enumerate(cuts) if cut != slice(None)]
        if not axes:
            return self
        if not all(self.shape[axis] for axis in axes):
            raise ConfigError("a step that picks some of the rows can't be exported.")
        edges = [cuts[axis].indices(self.shape[axis]) for axis in axes]
        begins, ends, steps = zip(*edges, strict=True)
        return self.graph.add("Slice", [self], self.value[tuple(cuts)], begins, ends, axes, steps)

    def _with_axes(self, operator: str, axes: list[int]) -> "Traced":
        if not axes:
            return self
        change: Any = np.squeeze if operator == "Squeeze" else np.expand_dims
        return self.graph.add(operator, [self], change(self.value, tuple(axes)), axes)

    def _transposed(self, order: Sequence[int]) -> "Traced":
        value = self.value.transpose(order)
        return self.graph.add("Transpose", [self], value, perm=list(order))

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> "Traced":
        if ufunc is np.log1p:
            return np.log(self + 1.0)  # type: ignore[no-any-return]
        if ufunc not in UFUNCS or method != "__call__" or options:
            raise ConfigError(f"a step that uses {ufunc.__name__} can't be exported.")
        return self.graph.add(UFUNCS[ufunc], inputs, ufunc(*map(_value, inputs)))

    def __array_function__(
        self, function: Callable, types: Any, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> "Traced":
        if function not in FUNCTIONS:
            raise ConfigError(f"a step that uses {function.__name__} can't be exported.")
        return FUNCTIONS[function](self.graph, *inputs, **options)

    def __array__(self, *inputs: Any, **options: Any) -> np.ndarray:
        raise ConfigError("a step that does one thing or another by its numbers can't be exported.")

    __int__ = __float__ = __bool__ = __index__ = __array__  # type: ignore[assignment]


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Traced) else x


def _concatenate(graph: Graph, parts: Sequence[Any], axis: int = 0) -> Traced:
    return graph.add("Concat", parts, np.concatenate(list(map(_value, parts)), axis), axis=axis)


def _where(graph: Graph, chosen: Any, one: Any, other: Any) -> Traced:
    parts = [
        part if isinstance(part, Traced) else graph.constant(part, np.dtype(np.float32))
        for part in (one, other)
    ]
    value = np.where(_value(chosen), *map(_value, parts))
    return graph.add("Where", [chosen, *parts], value)


def _amax(graph: Graph, x: Traced, axis: int, keepdims: bool = False) -> Traced:
    value = x.value.max(axis, keepdims=keepdims)
    return graph.add("ReduceMax", [x], value, [axis], keepdims=int(keepdims))


def _clip(graph: Graph, x: Traced, low: float, high: float) -> Traced:
    return graph.add("Clip", [x, low, high], x.value)


FUNCTIONS: dict[Callable, Callable[..., Traced]] = {
    np.concatenate: _concatenate,
    np.where: _where,
    np.amax: _amax,
    np.clip: _clip,
}
