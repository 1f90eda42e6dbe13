"""``NDArray``: an array on a device, eager, recorded by autograd."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from numbers import Number
from typing import Any

import numpy as np

from ..context import Context, current_context
from ..dtype import dtype_of
from ..errors import MXNetError, ShapeError
from ..graph.node import Variable
from ..ops import load
from ..registry.op import APPLY, OPS, Op
from ..registry.schema import EMPTY, Attrs
from ..runtime.device import Device, device_of, moved
from ..runtime.invoke import STATE, check_write, invoke, invoke_pair, wrap
from ..runtime.watch import shared_out, written
from .fluent import ArrayMethods

__all__ = ["NDArray"]

load()


@functools.cache
def _backward() -> Callable:
    """``autograd.backward``; autograd is built on this class, so it is looked up at the first use."""
    from ..autograd import backward

    return backward


def _refuse(other: Any) -> Any:
    """Other operands: NumPy arrays are not converted behind the user's back, as in MXNet; the rest Python decides."""
    if isinstance(other, np.ndarray):
        raise TypeError("type numpy.ndarray not supported: an NDArray and a NumPy array do not mix in arithmetic; use "
                        "mx.nd.array(...) on the one, or .asnumpy() on the other")
    return NotImplemented


def _operator(name: str, scalar_name: str, symbol: str) -> Callable:
    op, scalar_op = OPS[name], OPS[scalar_name]
    attrs = op.parse({})
    numbers: dict[Any, Attrs] = {}  # attributes for numbers seen before

    def method(self: NDArray, other: Any) -> Any:
        if isinstance(other, NDArray):
            return invoke_pair(op, self, other, attrs)
        if isinstance(other, (int, float, np.generic, Number)):
            found = numbers.get(other)
            if found is None:
                found = scalar_op.parse({"scalar": other})
                if other and len(numbers) < 1000:  # 0.0 and -0.0 are one key
                    numbers[other] = found
            return invoke(scalar_op, (self,), found)
        return _refuse(other)

    method.__doc__ = f"``self {symbol} other``: with an array (broadcast, same type) or a number."
    return method


def _inplace(name: str, scalar_name: str, symbol: str) -> Callable:
    op, scalar_op = OPS[name], OPS[scalar_name]
    attrs = op.parse({})

    def method(self: NDArray, other: Any) -> Any:
        if isinstance(other, NDArray):
            return invoke(op, (self, other), attrs, self)
        if isinstance(other, (Number, np.generic)):
            return invoke(scalar_op, (self,), scalar_op.parse({"scalar": other}), self)
        return NotImplemented

    method.__doc__ = f"``self {symbol} other``, written to the same memory. Not while it is being recorded."
    return method


class NDArray(ArrayMethods):
    """A multi-dimensional array of one data type on one device.

    Made by :func:`mxcore.nd.array`, :func:`mxcore.nd.zeros` and the like, or as the result of operators. Arrays are
    contiguous. Unless said otherwise the type is float32, an operator needs inputs of one type, comparisons give 0 and 1
    in the type of the inputs, and a full reduction has shape ``(1,)``, all as in MXNet 1.9.

    Attributes
    ----------
    shape, size, ndim
        As in NumPy.
    dtype : type
        The NumPy scalar type (``numpy.float32``).
    context : Context
    grad : NDArray or None
        The gradient buffer that :meth:`attach_grad` made.
    T : NDArray
        The transpose.

    Examples
    --------
    >>> a = nd.array([[1, 2], [3, 4]])
    >>> (a * 2 + 1).asnumpy()
    array([[3., 5.],
           [7., 9.]], dtype=float32)
    """

    __slots__ = ("__weakref__", "_data", "_dev", "_entry", "_kept")
    __array_priority__ = 1000.0
    _data: Any
    _dev: Device
    _entry: Any
    _kept: Any  # set by mxcore.runtime.invoke.record_call on constants that the tape keeps

    def __init__(self, source: Any, ctx: Context | None = None) -> None:
        """Wrap raw backend memory, or copy an array-like (prefer :func:`mxcore.nd.array`)."""
        self._dev = device_of(ctx or current_context())
        self._data = source if isinstance(source, self._dev.array_type) else \
            self._dev.backend.from_host(np.asarray(source), self._dev.index)
        self._entry = None

    # ------------------------------------------------------------ facts
    @property
    def shape(self) -> tuple[int, ...]:
        """The dimensions."""
        return self._data.shape

    @property
    def dtype(self) -> type:
        """The NumPy scalar type of the elements."""
        return self._data.dtype.type

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._data.ndim

    @property
    def context(self) -> Context:
        """The device that holds the array."""
        return self._dev.ctx

    ctx = context

    @property
    def stype(self) -> str:
        """Storage type: ``"default"`` (dense)."""
        return "default"

    @property
    def T(self) -> NDArray:
        """The array with its axes reversed (a copy).

        >>> nd.ones((2, 3)).T.shape
        (3, 2)
        """
        return self.transpose() if self.ndim > 1 else self

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-dimensional array")
        return self.shape[0]

    def __hash__(self) -> int:
        return id(self) // 16

    # ------------------------------------------------------------ to Python and NumPy
    def asnumpy(self) -> np.ndarray:
        """A NumPy copy; waits for the computation.

        >>> nd.array([1, 2]).asnumpy()
        array([1., 2.], dtype=float32)
        """
        return self._dev.backend.to_host(self._data)

    def asscalar(self) -> Any:
        """The number that an array of one element holds, as a NumPy scalar of its type.

        Raises
        ------
        ValueError
            The array has not exactly one element.
        """
        if self.size != 1:
            raise ValueError(f"The current array is not a scalar: it has shape {self.shape}")
        return self.asnumpy().reshape(-1)[0]

    def item(self) -> Any:
        """The number that an array of one element holds, as a Python number."""
        return self.asscalar().item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self.asnumpy().tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.item())
        if self.size == 0:
            return False
        raise ValueError("The truth value of an NDArray with multiple elements is ambiguous.")

    def __index__(self) -> int:
        if self._data.dtype.kind in "iu" and self.size == 1:
            return operator.index(self.item())
        raise TypeError("only integer scalar arrays can be converted to a scalar index")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an NDArray gives NumPy a copy; use numpy.from_dlpack to share memory")
        host = self.asnumpy()
        return host if dtype is None else host.astype(dtype, copy=False)

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: Any = None) -> Any:
        """The array as a DLPack capsule that shares its memory (array API standard)."""
        options = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
        shared_out(self._data)
        return self._dev.backend.to_dlpack(self._data, **{k: v for k, v in options.items() if v is not None})

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack device type and number."""
        return self._dev.backend.dlpack_device(self._data)

    def to_dlpack_for_read(self) -> Any:
        """A DLPack capsule for reading (MXNet's name); give it to ``from_dlpack``."""
        return self.__dlpack__()

    def to_dlpack_for_write(self) -> Any:
        """A DLPack capsule for writing (MXNet's name)."""
        return self.__dlpack__()

    def __reduce__(self) -> tuple:
        from .files import reduced

        return reduced(self)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return f"\n{self.asnumpy()!s}\n<{type(self).__name__} {shape} @{self.context}>"

    def _repr_html_(self) -> str:
        from .html import array_html

        return array_html(self)

    def wait_to_read(self) -> None:
        """Wait until the array is computed; errors of its computation surface here."""
        self._dev.backend.synchronize(self._dev.index)

    wait_to_write = wait_to_read

    # ------------------------------------------------------------ copies
    def copy(self) -> NDArray:
        """A copy on the same device."""
        return self._method("_copy")

    def astype(self, dtype: Any, copy: bool = True) -> NDArray:
        """The values as another type; the array itself if it has that type and ``copy`` is false."""
        wanted = dtype_of(dtype)
        if not copy and wanted == self._data.dtype:
            return self
        return self._method("Cast", dtype=wanted)

    def copyto(self, other: NDArray | Context) -> NDArray:
        """Copy the values into another array (of any device and type), or to a device.

        Raises
        ------
        ShapeError
            The shapes differ.
        """
        if isinstance(other, Context):
            return self._to_device(device_of(other))
        if not isinstance(other, NDArray):
            raise TypeError(f"copyto does not support type {type(other)}")
        if other is self:
            import warnings

            warnings.warn("You are attempting to copy an array to itself", RuntimeWarning, stacklevel=2)
            return other
        if other.shape != self.shape:
            raise ShapeError(f"copyto: shapes must be equal, the source has {self.shape}, the target {other.shape}")
        if STATE.recording and self._entry is not None:
            return other._assign_recorded(self)
        other._assign_raw(self._raw_on(other._dev))
        return other

    def _raw_on(self, dev: Device) -> Any:
        if dev.backend is self._dev.backend and (dev.index == self._dev.index or dev.name == "numpy"):
            return self._data
        return moved(self._data, self._dev, dev)

    def _to_device(self, dev: Device) -> NDArray:
        if STATE.recording and self._entry is not None:
            from .transfer import copy_recorded

            return copy_recorded(self, dev)
        if dev is self._dev:
            return self.copy()
        raw = self._raw_on(dev)
        return wrap(type(self), dev.xp.copy(raw) if raw is self._data else raw, dev)

    def as_in_context(self, context: Context) -> NDArray:
        """The array on ``context``: itself if it is there, else a copy."""
        return self if context == self.context else self._to_device(device_of(context))

    as_in_ctx = as_in_context

    def to_device(self, device: Context) -> NDArray:
        """Same as :meth:`as_in_context`."""
        return self.as_in_context(device)

    def as_nd_ndarray(self) -> NDArray:
        """The array as an ``mx.nd.NDArray``."""
        return self

    def tostype(self, stype: str) -> NDArray:
        """The array in another storage type; only ``"default"`` exists so far."""
        if stype != "default":
            raise MXNetError(f"storage type {stype!r} is not available; arrays here are dense")
        return self

    def detach(self) -> NDArray:
        """The same memory, seen by autograd as a constant."""
        return wrap(type(self), self._shared(), self._dev)

    def _shared(self) -> Any:
        """The raw array, for another array that is to share its memory.

        Kernels may give results in another order of axes than C's; memory that several arrays see is in C order.
        """
        self._data = raw = self._dev.xp.ascontiguousarray(self._data)
        return raw

    # ------------------------------------------------------------ autograd
    def attach_grad(self, grad_req: str = "write", stype: str | None = None) -> None:
        """Ask autograd for gradients of this array; they go to :attr:`grad`.

        Parameters
        ----------
        grad_req : {"write", "add", "null"}
            Replace, accumulate, or ignore.
        stype : str, optional
            Storage type of the gradient; dense only.
        """
        from ..autograd import mark_variables

        if stype not in (None, "default"):
            raise MXNetError(f"gradients of storage type {stype!r} are not available; gradients here are dense")
        grad = wrap(type(self), self._dev.xp.zeros(self.shape, self._data.dtype), self._dev)
        mark_variables([self], [grad], grad_req)

    @property
    def grad(self) -> NDArray | None:
        """The gradient buffer, or None."""
        entry = self._entry
        return entry[0].grad if entry is not None and type(entry[0]) is Variable else None

    @property
    def _fresh_grad(self) -> bool:
        """Whether a backward pass has written the gradient since this was last set to False."""
        entry = self._entry
        return entry is not None and type(entry[0]) is Variable and entry[0].fresh

    @_fresh_grad.setter
    def _fresh_grad(self, value: bool) -> None:
        entry = self._entry
        if entry is not None and type(entry[0]) is Variable:
            entry[0].fresh = value

    def drop_grad(self) -> None:
        """Undo :meth:`attach_grad`."""
        if self.grad is not None:
            self._entry = None

    def backward(self, out_grad: NDArray | None = None, retain_graph: bool = False, train_mode: bool = True) -> None:
        """Gradients of this array by all marked arrays; see :func:`mxcore.autograd.backward`."""
        _backward()(self, out_grad, retain_graph, train_mode)

    # ------------------------------------------------------------ indexing, shape
    def __getitem__(self, key: Any) -> NDArray:
        from .indexing import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        from .indexing import setitem

        setitem(self, key, value)

    def __iter__(self) -> Iterator[NDArray]:
        for i in range(len(self)):
            yield self[i]

    def slice_assign(self, value: Any, begin: Any, end: Any, step: Any = None) -> None:
        """``self[begin:end:step] = value``, axis by axis."""
        step = step or [None] * len(begin)
        self[tuple(slice(b, e, s) for b, e, s in zip(begin, end, step, strict=True))] = value

    def slice_assign_scalar(self, value: float, begin: Any, end: Any, step: Any = None) -> None:
        """``self[begin:end:step] = value`` for a number, axis by axis."""
        self.slice_assign(value, begin, end, step)

    def reshape(self, *shape: Any, **kwargs: Any) -> NDArray:
        """The same memory in another shape.

        Parameters
        ----------
        *shape : ints, or one tuple
            0 keeps a dimension, -1 infers one, -2 keeps all that remain, -3 merges two, -4 splits one in two.
        reverse : bool
            Read the codes from the right.

        >>> nd.zeros((2, 3, 4)).reshape((0, -1)).shape
        (2, 12)
        """
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        if not shape:
            shape = kwargs.pop("shape", ())
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
        reverse = kwargs.pop("reverse", False)
        if kwargs:
            raise TypeError(f"Got unknown keywords in reshape: {', '.join(kwargs)}. Accepted keyword arguments are "
                            "'shape' and 'reverse'.")
        op = OPS["Reshape"]
        return self._aliased(op, op.parse({"shape": shape, "reverse": reverse} if reverse else {"shape": shape}))

    def _aliased(self, op: Op, attrs: Any) -> NDArray:
        """A view operator whose result shares this array's memory."""
        from ..runtime.explain import explain
        from ..runtime.invoke import record_call, run_kernel

        try:
            results = run_kernel(op, self._dev, (self._shared(),), attrs)
        except Exception as error:
            raise explain(op, (self,), attrs, error) from error
        new = wrap(type(self), results[0], self._dev)
        if STATE.recording and self._entry is not None:
            record_call(op, attrs, (self,), results, (new,))
        return new

    def broadcast_to(self, shape: Any = (), out: Any = None, name: str | None = None, **kwargs: Any) -> NDArray:
        """The array repeated along its axes of length 1, and along new leading axes.

        >>> nd.array([1, 2]).broadcast_to((3, 2)).shape
        (3, 2)
        """
        op = OPS["broadcast_to"]
        attrs = op.parse({"shape": shape, **kwargs})
        lead = len(attrs.shape) - self.ndim
        return invoke(op, (self.reshape((1,) * lead + self.shape) if lead > 0 else self,), attrs, out)

    def reshape_view(self, *shape: Any, **kwargs: Any) -> NDArray:
        """Same as :meth:`reshape`."""
        return self.reshape(*shape, **kwargs)

    def _method(self, op_name: str, *arrays: Any, **attrs: Any) -> Any:
        op = OPS[op_name]
        return invoke(op, (self, *arrays), op.parse(attrs))

    def _assign_raw(self, raw: Any) -> None:
        """Write raw values into this array's memory."""
        if STATE.recording:
            check_write(self)
        self._dev.xp.copyto(self._data, raw)
        written(self._data)

    def _assign_recorded(self, value: NDArray) -> NDArray:
        """Write all of this array while recording, so that gradients flow on to ``value``."""
        value = value.as_in_context(self.context).astype(self.dtype, copy=False)
        if value.shape != self.shape:
            value = value.broadcast_to(self.shape)
        return invoke(OPS["_copy"], (value,), EMPTY, self)

    # ------------------------------------------------------------ arithmetic
    __add__ = _operator("broadcast_add", "_plus_scalar", "+")
    __sub__ = _operator("broadcast_sub", "_minus_scalar", "-")
    __mul__ = _operator("broadcast_mul", "_mul_scalar", "*")
    __truediv__ = _operator("broadcast_div", "_div_scalar", "/")
    __mod__ = _operator("broadcast_mod", "_mod_scalar", "%")
    __pow__ = _operator("broadcast_power", "_power_scalar", "**")
    __radd__ = _operator("broadcast_add", "_plus_scalar", "+")
    __rsub__ = _operator("broadcast_sub", "_rminus_scalar", "rsub")
    __rmul__ = _operator("broadcast_mul", "_mul_scalar", "*")
    __rtruediv__ = _operator("broadcast_div", "_rdiv_scalar", "rdiv")
    __rmod__ = _operator("broadcast_mod", "_rmod_scalar", "rmod")
    __rpow__ = _operator("broadcast_power", "_rpower_scalar", "rpow")
    __div__, __rdiv__ = __truediv__, __rtruediv__
    __iadd__ = _inplace("broadcast_add", "_plus_scalar", "+=")
    __isub__ = _inplace("broadcast_sub", "_minus_scalar", "-=")
    __imul__ = _inplace("broadcast_mul", "_mul_scalar", "*=")
    __itruediv__ = _inplace("broadcast_div", "_div_scalar", "/=")
    __idiv__ = __itruediv__
    __imod__ = _inplace("broadcast_mod", "_mod_scalar", "%=")
    __ipow__ = _inplace("broadcast_power", "_power_scalar", "**=")
    __eq__ = _operator("broadcast_equal", "_equal_scalar", "==")
    __ne__ = _operator("broadcast_not_equal", "_not_equal_scalar", "!=")
    __gt__ = _operator("broadcast_greater", "_greater_scalar", ">")
    __ge__ = _operator("broadcast_greater_equal", "_greater_equal_scalar", ">=")
    __lt__ = _operator("broadcast_lesser", "_lesser_scalar", "<")
    __le__ = _operator("broadcast_lesser_equal", "_lesser_equal_scalar", "<=")

    def __neg__(self) -> NDArray:
        return self._method("negative")

    def __abs__(self) -> NDArray:
        return self._method("abs")

    def __matmul__(self, other: Any) -> NDArray:
        return self._method("dot", other) if isinstance(other, NDArray) else NotImplemented


APPLY[NDArray] = invoke
