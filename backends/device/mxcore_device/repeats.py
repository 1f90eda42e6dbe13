"""Kernels of operators whose launches are remembered: a call of a known kind does what the one before it did.

What a kernel allocates and launches follows from the shapes, types and strides of its arrays and from the attributes, not
from the numbers in the arrays. So the second call of a kind is noted on a :class:`Tape`, and later ones only repeat the
launches with their own memory, which costs the host a tenth. A call in which the host takes part (it reads or writes numbers),
or whose result shares memory with an argument, is never repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from mxcore.graph.node import Shaped

from .arrays import Array, form_of

__all__ = ["Repeat", "Repeated", "Tape"]

#: kinds of calls that a device remembers; then a quarter of them, the oldest, is forgotten
_MOST = 8192
#: launches of one call; what takes more is no small operator, whose host time matters
_LONGEST = 512
#: attempts to note a call
_ATTEMPTS = 3


class Tape:
    """What a call allocates and does.

    Parameters
    ----------
    given : sequence of Array, Shaped or None
        The arguments.

    Attributes
    ----------
    inputs : int
        How many arguments there are.
    slots : dict
        Memory, by ``id``, to its number: first the arguments', then what was allocated, whose sizes in bytes are ``sizes``.
    steps : list of (method of :class:`Repeat`, what it needs)
    early : bool
        It may be done in another way the next time.
    """

    def __init__(self, given: Sequence[Any]) -> None:
        self.slots = {id(a.memory): k for k, a in enumerate(given) if isinstance(a, Array)}
        self.given, self.inputs = given, len(given)
        self.alive = [a.memory for a in given if isinstance(a, Array)]  # so that no ``id`` comes twice
        self.sizes: list[int] = []
        self.steps: list[tuple[str, tuple]] = []
        self.failed = self.early = False

    def allocated(self, memory: Any, nbytes: int) -> None:
        """Memory was taken."""
        self.slots[id(memory)] = self.inputs + len(self.sizes)
        self.sizes.append(nbytes)
        self.alive.append(memory)

    def noted(self, kind: str, *what: Any) -> None:
        """Something was launched."""
        self.steps.append((kind, what))
        self.failed = self.failed or len(self.steps) > _LONGEST

    def slot(self, memory: Any) -> int | None:
        """The number of memory; None for what lasts (a number that the device has already)."""
        return self.slots.get(id(memory))

    def made(self, memory: Any) -> bool:
        """Whether it was allocated for this call."""
        return self.slots.get(id(memory), -1) >= self.inputs


class Repeat:
    """What a call did, to be done with other memory.

    A backend may derive a class that prepares more; see :attr:`mxcore_device.machine.Machine.repeat`.
    """

    def __init__(self, machine: Any, tape: Tape, results: Sequence[Any], single: bool) -> None:
        self.machine, self.single = machine, single
        touched = [m for kind, what in tape.steps for m in self.memories(kind, what)]
        ends = dict.fromkeys(tape.slots[id(r.memory)] for r in results if r is not None)
        passed = dict.fromkeys(slot for m in touched if (slot := tape.slot(m)) is not None and slot not in ends)
        self.used = sorted(k for k in passed if k < tape.inputs)
        made = [*ends, *[k for k in passed if k >= tape.inputs]]  # results, then what is needed in between
        self.number = {k: n for n, k in enumerate([*self.used, *made])}
        self.sizes = [tape.sizes[k - tape.inputs] for k in made]
        self.results = [None if r is None else (self.number[tape.slots[id(r.memory)]], form_of(r), r.offset) for r in results]
        self.lasting = [m for m in touched if tape.slot(m) is None]
        self.lives = self._lives(tape)
        self.steps = [getattr(self, kind)(tape, *what) for kind, what in tape.steps]

    @staticmethod
    def memories(kind: str, what: tuple) -> list[Any]:
        """The memory that a step reads and writes."""
        if kind == "moved":
            return [what[0], what[2]]
        if kind == "performed":
            return [memory for memory, _ in what[1]]
        return [a for a in what[2] if type(a) is not bytes]

    def _lives(self, tape: Tape) -> dict[int, tuple[int, int]]:
        """The first and the last step that touches memory, by its number."""
        lives: dict[int, tuple[int, int]] = {}
        for at, (kind, what) in enumerate(tape.steps):
            for slot in map(tape.slot, self.memories(kind, what)):
                if slot is not None:
                    n = self.number[slot]
                    lives[n] = lives.get(n, (at, at))[0], at
        return lives

    # ------------------------------------------------------------ steps: functions of the memories
    def launched(self, tape: Tape, kernel: Any, count: int, arguments: tuple) -> Callable[[list], None]:
        """A kernel."""
        start = self.machine.start
        places = [(k, self.number[slot]) for k, a in enumerate(arguments)
                  if type(a) is not bytes and (slot := tape.slot(a)) is not None]
        template = list(arguments)
        for k, _ in places:
            template[k] = None

        def step(memory: list) -> None:
            given = template.copy()
            for k, n in places:
                given[k] = memory[n]
            start(kernel, count, *given)

        return step

    def moved(self, tape: Tape, target: Any, to: int, source: Any, at: int, nbytes: int) -> Callable[[list], None]:
        """A copy."""
        transfer, number = self.machine.transfer, self.number
        m, n = [None if (slot := tape.slot(x)) is None else number[slot] for x in (target, source)]
        return lambda memory: transfer(target if m is None else memory[m], to, source if n is None else memory[n], at, nbytes)

    # ------------------------------------------------------------ calls
    def ready(self) -> Callable[[Sequence[Any]], Any]:
        """What calls call."""
        return self

    def __call__(self, arrays: Sequence[Any]) -> Any:
        take = self.machine.take
        memory = [arrays[k].memory for k in self.used]
        memory += [take(n) for n in self.sizes]
        for step in self.steps:
            step(memory)
        return self.made(memory)

    def made(self, memory: Sequence[Any]) -> Any:
        """The results."""
        if self.single:
            n, form, offset = self.results[0]  # type: ignore[misc]
            return form.array(memory[n], offset)
        return tuple([None if r is None else r[1].array(memory[r[0]], r[2]) for r in self.results])


def _other(a: Any) -> Any:
    """What a call depends on of an argument that is no array."""
    if a is None or isinstance(a, Shaped):
        return None if a is None else (a.shape, a.dtype)
    raise TypeError(f"no array of the device: {type(a).__name__}")


class Repeated:
    """The kernel of an operator, ``f(xp, *arrays, **attrs)``, in place of ``kernel``."""

    def __init__(self, name: str, kernel: Callable) -> None:
        self.name, self.kernel = name, kernel
        self.__module__ = getattr(kernel, "__module__", __name__)  # people are told where a kernel is

    def __repr__(self) -> str:
        return f"<{self.name}, repeated: {self.kernel!r}>"

    def __call__(self, xp: Any, *arrays: Any, **attrs: Any) -> Any:
        machine = xp.machine
        kind = machine.array_type
        if machine.taping.tape is not None:  # within a call that is being noted
            return self.kernel(xp, *arrays, **attrs)
        try:
            key: tuple = (self, *[a.form or form_of(a) if type(a) is kind else _other(a) for a in arrays])
            if attrs:
                values = attrs.values()
                key = (*key, *values, *map(type, values))  # 1 is not 1.0
                if 0.0 in values:  # nor 0.0 -0.0
                    key = (*key, str(values))
            found = machine.known.get(key)
        except TypeError:  # an argument that is no array of this kind of device, or an attribute that cannot be a key
            return self.kernel(xp, *arrays, **attrs)
        if type(found) is int or found is None:
            return self._first(machine, key, found, xp, arrays, attrs)
        return found(arrays)

    def _first(self, machine: Any, key: tuple, attempts: int | None, xp: Any, arrays: tuple, attrs: dict) -> Any:
        """One of the first calls of a kind; ``attempts`` to note it are left, None: none was made."""
        known = machine.known
        if attempts is None:
            known[key] = _ATTEMPTS
            if len(known) > _MOST:
                for old in list(islice(known, _MOST // 4)):
                    known.pop(old, None)
            return self.kernel(xp, *arrays, **attrs)
        here = attempts and all(a.machine is machine for a in arrays if isinstance(a, Array))
        given = machine.alone(arrays) if here else None
        if given is None:
            return self.kernel(xp, *arrays, **attrs)
        tape = machine.taping.tape = Tape(given)
        try:
            made = self.kernel(xp, *given, **attrs)
        finally:
            machine.taping.tape = None
        results = made if type(made) is tuple else (made,)
        own = all(r is None or (type(r) is machine.array_type and tape.made(r.memory)) for r in results)
        if own and not tape.failed and not tape.early:
            known[key] = machine.repeat(machine, tape, results, made is not results).ready()
        elif not tape.early:
            known[key] = attempts - 1
        if not own:  # it may be an argument's memory, seen from where the call was noted
            return self.kernel(xp, *arrays, **attrs)
        return made
