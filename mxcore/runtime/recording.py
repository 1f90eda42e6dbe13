"""Plans whose launches are recorded once, and from then on are done all at once.

Devices with streams can record what is launched and replay it for the price of one launch (CUDA graphs). A recording has
the addresses of its arrays in it, so inputs are copied to places of their own, and outputs out of them. ``static_alloc=True``
of ``hybridize`` asks for it. Random numbers come from the generator's ``recording()``, so that each replay draws what the plan
would have drawn step by step. What looks at values on the host is not recorded; then the plan runs step by step, and
``net.explain()`` says why.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from operator import is_
from typing import Any

from ..errors import MXNetError
from .invoke import HOOKS, STATE, generator
from .lowering import Plan
from .steps import Step
from .watch import written

__all__ = ["Recording"]

#: ordinary runs before the first recording: kernels are compiled and algorithms chosen in them
_WARM = 2
#: recordings made anew, because parameters or gradients have moved, before it is given up
_MOST = 8


class Recording:
    """The forward and the backward part of a plan, recorded.

    Parameters
    ----------
    plan : Plan
    dev : Device
        Of a backend that has ``record``.
    run : callable
        ``run(steps, values, dev)``.

    Attributes
    ----------
    failed : str
        Why it is not recorded (any more); empty while it is or may be.
    """

    def __init__(self, plan: Plan, dev: Any, run: Callable[[list[Step], list, Any], None]) -> None:
        self.plan, self.dev, self._run = plan, dev, run
        self.failed = ""
        self._calls = self._made = 0
        self._forward: Callable[[], None] | None = None
        self._values: list = []
        self._inputs: list = []
        self._lasting: list[bool] = []  # which of them are parameters
        self._hoisted: dict[int, Any] = {}
        self._fixed: list = []
        self._user: Callable[[], Any] = lambda: None
        self._backward: Callable[[], None] | None = None
        self._results: list = []
        self._seeds: list = []
        self._places: list = []
        self._mutated = [slot for s in plan.forward for slot in getattr(s, "mutated", ())]

    def forward(self, raws: Sequence[Any], fixed: list, derived: Callable[[list, list], None]) -> list | None:
        """The values after a run; None if the plan is to run step by step this time.

        ``derived(values, fixed)`` fills in what follows from parameters.
        """
        kept = self._user()
        if self.failed or HOOKS or STATE.replay is not None:  # a definition that runs again leaves states as they are
            return None
        if kept is not None and kept.values:  # somebody still needs the values of the last run
            return None
        if self._forward is None or not all(map(is_, fixed, self._fixed)):
            self._calls += 1
            if self._calls <= _WARM or not self._record(raws, fixed, derived):
                return None
        copyto, values, plan = self.dev.xp.copyto, self._values, self.plan
        for place, raw in zip(self._inputs, raws, strict=True):
            if place is not raw:
                copyto(place, raw)
        if plan.hoisted:
            fresh: list = [*raws, *[None] * (plan.size - len(raws))]
            for slot, value in plan.constants.items():
                fresh[slot] = value
            derived(fresh, fixed)
            for slot, place in self._hoisted.items():
                if fresh[slot] is not place:
                    copyto(place, fresh[slot])
        assert self._forward is not None  # recorded above
        self._forward()
        for slot in self._mutated:
            written(values[slot])
        return values

    def _record(self, raws: Sequence[Any], fixed: list, derived: Callable[[list, list], None]) -> bool:
        plan, xp = self.plan, self.dev.xp
        values: list = [None] * plan.size
        for slot, value in plan.constants.items():
            values[slot] = value
        self._lasting = [any(r is f for f in fixed) for r in raws]
        self._inputs = [r if lasting else xp.copy(r) for r, lasting in zip(raws, self._lasting, strict=True)]
        values[: len(raws)] = self._inputs
        if plan.hoisted:
            derived(values, fixed)
        self._hoisted = {slot: values[slot] for slot in plan.hoisted}
        self._backward = None
        self._forward = self._recorded(lambda: self._run(plan.forward, values, self.dev))
        self._values, self._fixed = values, list(fixed)
        return self._forward is not None

    def _recorded(self, run: Callable[[], None]) -> Callable[[], None] | None:
        self._made += 1
        if self._made > _MOST:
            self.failed = "its parameters or gradients moved too often"
            return None
        dev = self.dev
        try:
            with _Draws(dev) as draws:
                launch: Callable[[], None] = dev.backend.record(dev.index, run)
        except MXNetError as error:
            self.failed = str(error).splitlines()[0]
            return None
        return partial(draws.renewed, launch) if draws.used else launch

    def lend(self, kept: Any) -> None:
        """Somebody keeps the values for the backward run."""
        self._user = weakref.ref(kept)

    def backward(self, kept: Any, head_grads: Sequence[Any], places: Sequence[Any]) -> list | None:
        """Gradients; None if the plan is to run step by step this time.

        Those by parameters are written into their ``places`` by the recording itself.
        """
        plan, xp = self.plan, self.dev.xp
        if self.failed or HOOKS:
            return None
        wanted = [p if lasting else None for p, lasting in zip(places, self._lasting, strict=True)]
        if self._backward is None or not all(map(is_, wanted, self._places)):
            values = list(self._values)
            self._seeds = [xp.zeros(shape, dtype) for shape, dtype in kept.likes]
            for slot, seed in zip(plan.seeds, self._seeds, strict=True):
                values[slot] = seed
            self._backward = self._recorded(lambda: self._gradients(values, wanted))
            if self._backward is None:
                return None
            self._places = wanted
        for seed, g in zip(self._seeds, head_grads, strict=True):
            xp.copyto(seed, xp.scalar(0, seed.dtype) if g is None else g)
        self._backward()
        return [r if r is None or r is p else xp.copy(r) for r, p in zip(self._results, wanted, strict=True)]

    def _gradients(self, values: list, places: Sequence[Any]) -> None:
        plan, copyto = self.plan, self.dev.xp.copyto
        for index, slot in plan.direct:
            place, spec = places[index], plan.specs[slot]
            if place is not None and place.shape == spec.shape and place.dtype == spec.dtype:
                values[slot] = place
        self._run(plan.backward, values, self.dev)
        self._results = [None if s is None else values[s] for s in plan.grads]
        for k, (r, place) in enumerate(zip(self._results, places, strict=True)):
            if r is not None and place is not None and r is not place and (r.shape, r.dtype) == (place.shape, place.dtype):
                copyto(place, r)
                self._results[k] = place


class _Draws:
    """Random numbers while launches are recorded on this thread: from a generator made for that, before the recording begins."""

    def __init__(self, dev: Any) -> None:
        self.dev, self.used = dev, False
        present = generator(dev)
        self.source: Any = present.recording() if hasattr(present, "recording") else None

    def __enter__(self) -> _Draws:
        self._outer, STATE.drawn = STATE.drawn, self
        return self

    def __exit__(self, *exc: object) -> None:
        STATE.drawn = self._outer

    def __call__(self, dev: Any) -> Any:
        if self.source is None:
            raise MXNetError("it draws random numbers")
        if dev is not self.dev or (STATE.replay is not None and STATE.replay[0] is not None):
            raise MXNetError("its random numbers come from another generator than its device's")
        self.used = True
        return self.source

    def renewed(self, launch: Callable[[], None]) -> None:
        """Replay with new numbers, of the generator that the device has now."""
        self.source.replay(generator(self.dev))
        launch()
