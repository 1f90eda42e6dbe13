"""Memory layouts, primitives and prepared calls: what kernels are made of.

A :class:`Layout` describes an array, a :class:`Primitive` is machine code for some layouts, a :class:`Call` has the
memory objects for one place where it is called. Making the first two costs milliseconds, a call some microseconds.
"""

from __future__ import annotations

import ctypes as C
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .codes import ANY, Algorithm, Arg, type_code
from .library import Unsupported, engine, failed, function, library, threads

__all__ = ["Binary", "Call", "Eltwise", "Layout", "PostOp", "Primitive", "Sum", "address", "aligned", "layout_of", "reorder",
           "supported"]

_SCRATCHPAD_USER = 1
_IMPLEMENTATION, _BY_ARGUMENT = 8, 255  # what a primitive descriptor is asked for


# ---------------------------------------------------------------- addresses
_HEAD = object.__basicsize__  # NumPy's array is the head of an object, then the address of its data
_word = C.c_size_t.from_address


def _direct(array: np.ndarray) -> int:
    return _word(id(array) + _HEAD).value


def _official(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def _fastest() -> Any:
    sample = np.empty(3)[1:]
    return _direct if _direct(sample) == _official(sample) else _official


#: address of the first element of an array; read from the object itself (0.2 us, the attribute takes 1.6)
address = _fastest()


def aligned(size: int) -> np.ndarray:
    """New memory of ``size`` bytes that begins with a cache line."""
    block = np.empty(size + 64, np.uint8)
    start = -address(block) & 63
    return block[start:start + size]


# ---------------------------------------------------------------- layouts
def _dims(numbers: Sequence[int]) -> C.Array:
    return (C.c_int64 * len(numbers))(*numbers)


class Layout:
    """How an array lies in memory: a memory descriptor of oneDNN.

    Parameters
    ----------
    shape : sequence of int
        One number at least, none of them 0.
    dtype : numpy.dtype
        One of :data:`mxcore_onednn.codes.TYPES`.
    strides : sequence of int, optional
        In elements. Without them oneDNN will choose the layout (format ``any``).
    """

    __slots__ = ("_destroy", "handle")

    def __init__(self, shape: Sequence[int], dtype: np.dtype, strides: Sequence[int] | None = None) -> None:
        made = C.c_void_p()
        if strides is None:
            function("memory_desc_create_with_tag")(C.byref(made), C.c_int(len(shape)), _dims(shape),
                                                    C.c_int(type_code(dtype)), C.c_int(ANY))
        else:
            function("memory_desc_create_with_strides")(C.byref(made), C.c_int(len(shape)), _dims(shape),
                                                        C.c_int(type_code(dtype)), _dims(strides))
        self._own(made)

    def _own(self, made: C.c_void_p) -> None:
        self.handle, self._destroy = made, library().dnnl_memory_desc_destroy

    @classmethod
    def copy_of(cls, borrowed: int) -> Layout:
        """An owned copy of a descriptor that belongs to something else."""
        made, self = C.c_void_p(), cls.__new__(cls)
        function("memory_desc_clone")(C.byref(made), C.c_void_p(borrowed))
        self._own(made)
        return self

    @property
    def nbytes(self) -> int:
        """Bytes, padding of blocks included."""
        size = library().dnnl_memory_desc_get_size
        size.restype, size.argtypes = C.c_size_t, (C.c_void_p,)
        return size(self.handle)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and bool(library().dnnl_memory_desc_equal(self.handle, other.handle))

    __hash__ = None  # type: ignore[assignment]

    def __del__(self) -> None:
        if hasattr(self, "handle"):  # not where the constructor raised
            self._destroy(self.handle)


def layout_of(array: np.ndarray, dtype: np.dtype | None = None) -> Layout:
    """The layout of an array as it is, with any strides; ``dtype`` may be another type of the same size."""
    size = array.dtype.itemsize
    return Layout(array.shape, dtype or array.dtype, [s // size for s in array.strides])


# ---------------------------------------------------------------- attributes
class Eltwise(NamedTuple):
    """Post-op: a function of the result."""

    algorithm: Algorithm
    alpha: float = 0.0
    beta: float = 0.0


class Binary(NamedTuple):
    """Post-op: the result and a further input, of ``shape`` (sizes equal to those of the result, or 1)."""

    algorithm: Algorithm
    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...]
    input: int = 0  # which input of the operator it is


class Sum(NamedTuple):
    """Post-op: what the memory of the result held before is added."""

    scale: float = 1.0


PostOp = Eltwise | Binary | Sum


class _Attributes:
    """Scratchpad given by the caller, scales, zero points and post-ops."""

    def __init__(self, post: Sequence[PostOp], scales: Mapping[int, int], zeros: Sequence[int]) -> None:
        self.handle, operations = C.c_void_p(), C.c_void_p()
        function("primitive_attr_create")(C.byref(self.handle))
        function("primitive_attr_set_scratchpad_mode")(self.handle, C.c_int(_SCRATCHPAD_USER))
        for argument, mask in scales.items():
            function("primitive_attr_set_scales_mask")(self.handle, C.c_int(argument), C.c_int(mask))
        for argument in zeros:
            function("primitive_attr_set_zero_points_mask")(self.handle, C.c_int(argument), C.c_int(0))
        if not post:
            return
        function("post_ops_create")(C.byref(operations))
        try:
            for p in post:
                if isinstance(p, Eltwise):
                    function("post_ops_append_eltwise")(operations, C.c_int(p.algorithm), C.c_float(p.alpha),
                                                        C.c_float(p.beta))
                elif isinstance(p, Binary):
                    layout = Layout(p.shape, p.dtype, p.strides)
                    function("post_ops_append_binary")(operations, C.c_int(p.algorithm), layout.handle)
                else:
                    function("post_ops_append_sum")(operations, C.c_float(p.scale), C.c_int32(0), C.c_int(0))
            function("primitive_attr_set_post_ops")(self.handle, operations)
        finally:
            library().dnnl_post_ops_destroy(operations)

    def __del__(self) -> None:
        library().dnnl_primitive_attr_destroy(self.handle)


# ---------------------------------------------------------------- primitives
def _argument(value: Any) -> Any:
    """A Python value as the C API takes it."""
    if value is None:
        return C.c_void_p()
    if isinstance(value, Layout):
        return value.handle
    if isinstance(value, Primitive):
        return value.descriptor
    if isinstance(value, float):
        return C.c_float(value)
    if isinstance(value, int):
        return C.c_int(value)
    return _dims(value)


class Primitive:
    """Code for one arithmetic on given layouts.

    Parameters
    ----------
    kind : str
        As in the name of the function ``dnnl_{kind}_primitive_desc_create``.
    arguments
        Of that function, between the engine and the attributes: :class:`Layout`, numbers, tuples (dimensions), a
        :class:`Primitive` (the forward one, for a backward one), None.
    post : sequence of PostOp
        What happens to each element of the result before it is stored.
    scales : mapping of int to int
        Arguments that come with scales (:meth:`Arg.scales`, float32), and along which axes those vary, as bits.
    zeros : sequence of int
        Arguments that come with a zero point (:meth:`Arg.zero_point`, one int32).
    code : bool
        False: only the descriptor is made, to be asked for layouts or handed to a backward primitive.

    Raises
    ------
    Unsupported
        There is no implementation for this on this machine.
    """

    __slots__ = ("_destroy", "_destroy_descriptor", "code", "descriptor", "post", "scratch_bytes")

    def __init__(self, kind: str, *arguments: Any, post: Sequence[PostOp] = (),
                 scales: Mapping[int, int] = MappingProxyType({}), zeros: Sequence[int] = (), code: bool = True) -> None:
        lib, _ = library(), threads().mine  # which also sets the number of threads that the code is made for
        self._destroy, self._destroy_descriptor = lib.dnnl_primitive_destroy, lib.dnnl_primitive_desc_destroy
        self.code, self.descriptor, self.post = C.c_void_p(), C.c_void_p(), tuple(post)
        attributes = _Attributes(post, scales, zeros)
        values = [_argument(a) for a in arguments]
        if kind == "reorder":  # has an engine for each side
            values = [values[0], engine(), values[1], engine()]
        else:
            values = [engine(), *values]
        function(f"{kind}_primitive_desc_create")(C.byref(self.descriptor), *values, attributes.handle)
        if code:
            function("primitive_create")(C.byref(self.code), self.descriptor)
        self.scratch_bytes = self.layout(Arg.SCRATCHPAD).nbytes

    def layout(self, argument: int) -> Layout:
        """The layout of an argument, where oneDNN chose it too."""
        ask = library().dnnl_primitive_desc_query_md
        ask.restype = C.c_void_p
        found = ask(self.descriptor, C.c_int(_BY_ARGUMENT), C.c_int(argument))
        if found is None:
            raise Unsupported(f"the primitive has no argument {argument}")
        return Layout.copy_of(found)

    @property
    def label(self) -> str:
        """Which implementation it is, such as ``"brgconv:avx512_core"``."""
        text = C.c_char_p()
        function("primitive_desc_query")(self.descriptor, C.c_int(_IMPLEMENTATION), C.c_int(0), C.byref(text))
        return (text.value or b"").decode()

    def __del__(self) -> None:
        if self.code:
            self._destroy(self.code)
        if self.descriptor:
            self._destroy_descriptor(self.descriptor)


def reorder(source: Layout, target: Layout) -> Primitive:
    """A copy from one layout into another."""
    return Primitive("reorder", source, target)


def supported(kind: str, *arguments: Any, **options: Any) -> Primitive | None:
    """A primitive, or None where oneDNN has no implementation."""
    try:
        return Primitive(kind, *arguments, **options)
    except Unsupported:
        return None


# ---------------------------------------------------------------- calls
class _Argument(C.Structure):
    _fields_ = [("arg", C.c_int), ("memory", C.c_void_p)]


class Call:
    """A primitive with memory objects, to be called many times, by one thread at a time.

    Parameters
    ----------
    primitive : Primitive
    arguments : sequence of int
        Which arguments (:class:`mxcore_onednn.codes.Arg`) the arrays of a call are, in order.
    layouts : mapping of int to Layout
        Layouts of scales and zero points, of which the primitive does not know.
    """

    __slots__ = ("_addresses", "_arguments", "_at", "_code", "_count", "_destroy", "_execute", "_memories", "_scratch_at",
                 "_scratch_bytes", "_set", "_threads", "primitive")

    def __init__(self, primitive: Primitive, arguments: Sequence[int],
                 layouts: Mapping[int, Layout] = MappingProxyType({})) -> None:
        lib = library()
        self.primitive, self._destroy, self._memories = primitive, lib.dnnl_memory_destroy, []
        self._threads, self._code = threads(), primitive.code.value
        self._execute = lib["dnnl_primitive_execute"]
        self._execute.argtypes = (C.c_void_p, C.c_void_p, C.c_int, C.c_void_p)
        self._set = C.PyDLL(None, handle=lib._handle)["dnnl_memory_set_data_handle"]  # so short that the GIL is kept
        self._set.argtypes = (C.c_void_p, C.c_void_p)
        wanted = [*arguments, Arg.SCRATCHPAD] if primitive.scratch_bytes else list(arguments)
        self._arguments = (_Argument * len(wanted))()
        for slot, argument in zip(self._arguments, wanted, strict=True):
            memory, layout = C.c_void_p(), layouts.get(argument) or primitive.layout(argument)
            function("memory_create")(C.byref(memory), layout.handle, engine(), C.c_void_p())
            self._memories.append(memory.value)
            slot.arg, slot.memory = argument, memory.value
        self._at, self._count, self._addresses = C.addressof(self._arguments), len(wanted), [0] * len(arguments)
        self._scratch_bytes, self._scratch_at = primitive.scratch_bytes, 0

    def __call__(self, *arrays: np.ndarray) -> None:
        """Run on arrays of the layouts that the primitive was made for (that is not checked)."""
        i, known = 0, self._addresses
        for array in arrays:
            at = address(array)
            if at != known[i]:
                self._set(self._memories[i], at)
                known[i] = at
            i += 1
        thread = self._threads.mine
        if self._scratch_bytes:
            if self._scratch_bytes > thread.size:
                thread.grow(self._scratch_bytes)
            if self._scratch_at != thread.address:
                self._set(self._memories[-1], thread.address)
                self._scratch_at = thread.address
        status = self._execute(self._code, thread.stream, self._count, self._at)
        if status:
            failed(status, "primitive_execute")

    def __del__(self) -> None:
        for memory in self._memories:
            self._destroy(memory)

