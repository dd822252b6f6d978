"""A computation on numpy arrays, recorded once and then replayed without what lies around it.

A step of one row is some fifty small operations, and numpy takes longer to prepare most of them
than to do them: a slice, a transposition, an array for the result. None of that depends on the
numbers. So the step is run once on arrays that write down what is done to them. Each result gets
memory of its own, slices and transpositions become views of that memory, what depends on weights
alone is computed then and never again, and what nothing depends on is left out. Of the next step
only the operations are left.

That memory serves one replay at a time, and a copy of it would fall apart into arrays that know
nothing of each other. So a thread that finds all of it in use records for itself, and a recording
that is pickled or copied takes none of it along.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Call:
    """What computes `result` anew, from arrays among `inputs`."""

    run: Callable[[], Any]
    result: np.ndarray
    inputs: Any


class NotRecordableError(Exception):
    """The computation asks for a number, so it might do something else another time."""


class Recording:
    """What `compute(*inputs)` does to arrays of the examples' shapes and dtypes.

    Law: a call returns what `compute` would, to the bit, in arrays of their own, in any thread and
    from any copy. Raises NotRecordableError where `compute` asks for a number that depends on its
    inputs.
    """

    def __init__(
        self, compute: Callable[..., Sequence[Any]], examples: Sequence[np.ndarray]
    ) -> None:
        self._compute = compute
        self._examples = [np.array(example) for example in examples]
        self._idle = [_Tape(compute, self._examples)]

    def __call__(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The results for these inputs."""
        try:
            tape = self._idle.pop()
        except IndexError:  # other threads have all there are
            tape = _Tape(self._compute, self._examples)
        results = tape.replay(inputs)
        self._idle.append(tape)
        return results

    def __reduce__(self) -> tuple[Any, ...]:
        return Recording, (self._compute, self._examples)


class _Tape:
    """The operations of a computation, on memory of their own: for one thread at a time."""

    def __init__(
        self, compute: Callable[..., Sequence[Any]], examples: Sequence[np.ndarray]
    ) -> None:
        calls: list[Call] = []
        self._inputs = [np.array(example) for example in examples]
        results = compute(*(Recorded(value, calls) for value in self._inputs))
        self._outputs = [_value(result) for result in results]
        self.runs = _needed(calls, self._outputs)

    def replay(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Copies of the results for these inputs."""
        for place, value in zip(self._inputs, inputs, strict=True):
            place[...] = value
        for run in self.runs:
            run()
        return [output.copy() for output in self._outputs]


class Recorded(np.lib.mixins.NDArrayOperatorsMixin):
    """An array, to numpy and to its users, that writes what is done to it into `calls`.

    Its numbers stand in `value`, where each replay puts new ones.
    """

    def __init__(self, value: np.ndarray, calls: list[Call]) -> None:
        self.value = value
        self._calls = calls

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)
    device = property(lambda self: self.value.device)
    T = property(lambda self: Recorded(self.value.T, self._calls))

    def sum(self, axis: int | None = None, keepdims: bool = False) -> "Recorded":
        """The sum, as of any array."""
        return self._record(np.add.reduce, (self,), {"axis": axis, "keepdims": keepdims})

    def rows_of(self, table: np.ndarray) -> "Recorded":
        """The rows of `table` at these indices, of which a later one out of range is the nearest.

        numpy writes straight into the result only where it need not refuse an index.
        """
        result = table.take(self.value, 0)
        run = partial(table.take, self.value, 0, result, "clip")
        self._calls.append(Call(run, result, self.value))
        return Recorded(result, self._calls)

    def __getitem__(self, where: Any) -> "Recorded":
        return self._record(np.ndarray.__getitem__, (self, where), {})

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getattr__(self, name: str) -> Callable[..., "Recorded"]:
        """A method of arrays, such as reshape."""
        method = getattr(np.ndarray, name, None)
        if name.startswith("__") or not callable(method):
            raise AttributeError(name)
        return lambda *inputs, **options: self._record(method, (self, *inputs), options)

    def __array_function__(
        self, function: Callable, types: Any, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> "Recorded":
        return self._record(function, inputs, options)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> "Recorded":
        if method != "__call__" or options:
            raise NotRecordableError(f"{ufunc.__name__} in another way than of arrays alone")
        values = [_value(x) for x in inputs]
        result = ufunc(*values)
        # Numbers as arrays, which numpy need not turn into arrays each time.
        values = [np.asarray(x, result.dtype) if isinstance(x, int | float) else x for x in values]
        if ufunc is not np.matmul:  # which numpy does twice as fast where both have as many axes
            values = [x.reshape((1,) * (result.ndim - x.ndim) + x.shape) for x in values]
        if ufunc is np.matmul and all(value.ndim == 2 for value in values):
            ufunc = np.dot  # the same product, and less around it
        if ufunc in (np.maximum, np.minimum):  # where a third array may not be the result
            run = partial(ufunc, *values, out=result)
        else:
            run = partial(ufunc, *values, result)
        self._calls.append(Call(run, result, values))
        return Recorded(result, self._calls)

    def _record(
        self, function: Callable, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> "Recorded":
        """What `function` returns: a view of what is there, or what it computes anew each time."""
        options = {name: _value(x) for name, x in options.items()}
        values = _value(inputs)
        compute = partial(function, *values, **options)
        result = np.asarray(compute())
        if not np.may_share_memory(result, self.value):
            if function in (np.add.reduce, np.concatenate):
                run = partial(compute, out=result)
            else:
                run = partial(_set, result, compute)
            self._calls.append(Call(run, result, values))
        return Recorded(result, self._calls)

    def __array__(self, *inputs: Any, **options: Any) -> np.ndarray:
        raise NotRecordableError("a number is asked for")

    __int__ = __float__ = __bool__ = __index__ = __array__  # type: ignore[assignment]


def _needed(calls: Sequence[Call], outputs: Sequence[np.ndarray]) -> list[Callable[[], Any]]:
    """What is to run for the outputs, in the order of the calls."""
    wanted = {id(_memory(output)) for output in outputs}
    needed = []
    for call in reversed(calls):
        if id(_memory(call.result)) in wanted:
            needed.append(call.run)
            wanted.update(id(_memory(array)) for array in _arrays(call.inputs))
    return needed[::-1]


def _memory(array: np.ndarray) -> np.ndarray:
    """The array whose memory `array` is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _arrays(x: Any) -> Iterator[np.ndarray]:
    if isinstance(x, np.ndarray):
        yield x
    elif isinstance(x, tuple | list):
        for one in x:
            yield from _arrays(one)


def _set(result: np.ndarray, compute: Callable[[], Any]) -> None:
    result[...] = compute()


def _value(x: Any) -> Any:
    if isinstance(x, Recorded):
        return x.value
    return type(x)(map(_value, x)) if isinstance(x, tuple | list) else x
