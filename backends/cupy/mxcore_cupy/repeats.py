"""Repeated calls of operators on CUDA: addresses are written among arguments that are ready, and the driver is called."""

from __future__ import annotations

import ctypes as C
from collections.abc import Callable, Sequence
from operator import itemgetter
from struct import Struct, pack
from typing import Any

from mxcore.runtime.memory import Cell, assign
from mxcore_device.repeats import Repeat, Tape
from mxcore_device.source import LOCAL_SIZE

__all__ = ["ALIGNED", "DEVICE_TO_DEVICE", "CudaRepeat"]

#: bytes; how much of an address a noted call may rely on: memory of CuPy's pools begins at such
ALIGNED = 256
DEVICE_TO_DEVICE = 3  # cudaMemcpyKind


class CudaRepeat(Repeat):
    """See :class:`mxcore_device.repeats.Repeat`. All that a call needs only for itself is one piece of memory."""

    def __init__(self, machine: Any, tape: Tape, results: Sequence[Any], single: bool) -> None:
        self.arguments: list[tuple] = []
        super().__init__(machine, tape, results, single)
        self.nothing = [None] * len(self.used)  # no result is an argument's memory
        #: arguments: where, bytes of an element, and what their address is beyond an aligned one
        arguments = [(k, a) for k, a in enumerate(tape.given) if k in self.used]
        self.given = [(k, a.dtype.itemsize, machine.shift(a)) for k, a in arguments]
        first = len(self.used)
        outs = {r[0] for r in self.results if r is not None}
        cells = [Cell(-(-self.sizes[n - first] // ALIGNED) * ALIGNED, *self.lives.get(n, (0, 0)))
                 for n in range(first + len(outs), first + len(self.sizes))]
        self.room = assign(cells)
        self.offsets = [c.offset for c in cells]
        self.sizes = [max(n, 8) for n in self.sizes[: len(outs)]]

    def launched(self, tape: Tape, kernel: Any, count: int, arguments: tuple) -> Callable[..., None]:
        """A kernel: its arguments lie ready, addresses before numbers."""
        slots = [None if type(a) is bytes else tape.slot(a) for a in arguments]
        moving = [self.number[s] for s in slots if s is not None]
        still = [a if type(a) is bytes else pack("Q", a.ptr) for a, s in zip(arguments, slots, strict=True) if s is None]
        room = C.create_string_buffer(b"".join([bytes(8 * len(moving)), *[v.ljust(-(-len(v) // 8) * 8, b"\0") for v in still]]))
        at, variable, fixed = C.addressof(room), 0, 8 * len(moving)
        pointers = (C.c_void_p * max(len(arguments), 1))()
        for k, (a, s) in enumerate(zip(arguments, slots, strict=True)):
            pointers[k] = at + (variable if s is not None else fixed)
            if s is not None:
                variable += 8
            else:
                fixed += -(-len(a) // 8) * 8 if type(a) is bytes else 8
        put, address = Struct(f"{len(moving)}Q").pack_into, C.addressof(pointers)
        pick = itemgetter(*moving) if len(moving) > 1 else lambda addresses: [addresses[n] for n in moving]
        machine, function, grid, name = self.machine, kernel.function.ptr, -(-count // LOCAL_SIZE), kernel.name
        self.arguments.append((pointers, kernel))  # the driver is given their addresses

        def step(addresses: list[int], stream: int) -> None:
            put(room, 0, *pick(addresses))
            machine.remember(name)
            machine.driver_launch(function, grid, 1, 1, LOCAL_SIZE, 1, 1, 0, stream, address, 0)

        return step

    def moved(self, tape: Tape, target: Any, to: int, source: Any, at: int, nbytes: int) -> Callable[..., None]:
        """A copy."""
        copy, (there, here) = self.machine.copy, [self._place(tape, *place) for place in ((target, to), (source, at))]
        return lambda addresses, stream: copy(there(addresses), here(addresses), nbytes, DEVICE_TO_DEVICE, stream)

    def performed(self, tape: Tape, call: Callable[..., None], places: tuple[tuple[Any, int], ...]) -> Callable[..., None]:
        """A call of a library."""
        found = [self._place(tape, *place) for place in places]
        return lambda addresses, stream: call(*[place(addresses) for place in found])

    def _place(self, tape: Tape, memory: Any, start: int) -> Callable[[list[int]], int]:
        slot = tape.slot(memory)
        if slot is None:
            fixed = memory.ptr + start
            return lambda addresses: fixed
        number = self.number[slot]
        return (lambda addresses: addresses[number] + start) if start else itemgetter(number)

    def _addresses(self, arrays: Sequence[Any]) -> list[int]:
        """Of the arguments."""
        return [(a := arrays[k]).memory.ptr + a.offset * size - beyond for k, size, beyond in self.given]

    def __call__(self, arrays: Sequence[Any]) -> Any:
        machine = self.machine
        addresses = self._addresses(arrays)
        made = [machine.take(n) for n in self.sizes]
        addresses += [m.ptr for m in made]
        if self.room:
            room = machine.take(self.room)
            start = room.ptr
            addresses += [start + offset for offset in self.offsets]
        machine.enter()
        with machine.lock:
            stream = machine.stream
            try:
                for step in self.steps:
                    step(addresses, stream)
            except machine.failures as error:
                raise machine.explained(error, "repeating the launches of an operator") from error
        if machine.recorded is not None or machine.blocking:
            self._watched()
        return self.made([*self.nothing, *made])

    def _watched(self) -> None:
        self.machine.keep(self)
        if self.machine.blocking:
            self.machine.finish()

    def ready(self) -> Callable[[Sequence[Any]], Any]:
        """One launch that makes one array has a shorter way: most operators, on most arrays."""
        if len(self.steps) != 1 or len(self.sizes) != 1 or not self.single or self.room:
            return self
        machine, addresses_of, take, (step,), (size,) = self.machine, self._addresses, self.machine.take, self.steps, self.sizes
        lock, current, failures, result = machine.lock, machine.current, machine.failures, self.results[0]
        assert result is not None  # since there is one array
        array, offset = result[1].array, result[2]

        def call(arrays: Sequence[Any]) -> Any:
            memory = take(size)  # enters the device
            addresses = addresses_of(arrays)
            addresses.append(memory.ptr)
            with lock:
                try:
                    step(addresses, current().ptr)
                except failures as error:
                    raise machine.explained(error, "repeating the launch of an operator") from error
            if machine.recorded is not None or machine.blocking:
                self._watched()
            return array(memory, offset)

        return call
