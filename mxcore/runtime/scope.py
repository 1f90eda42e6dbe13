"""The state of a thread for a while: recording or not, training or not."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from .invoke import STATE

__all__ = ["Replay", "Scope"]


class Scope:
    """Sets the recording and training state of this thread, and restores it; also a decorator. None leaves as it is."""

    __slots__ = ("_recording", "_saved", "_training")

    def __init__(self, recording: bool | None, training: bool | None) -> None:
        self._recording, self._training = recording, training
        self._saved: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        state = STATE
        self._saved.append((state.recording, state.training))
        if self._recording is not None:
            state.recording = self._recording
        if self._training is not None:
            state.training = self._training

    def __exit__(self, *exc: object) -> None:
        STATE.recording, STATE.training = self._saved.pop()

    def __call__(self, fn: Callable) -> Callable:
        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with Scope(self._recording, self._training):
                return fn(*args, **kwargs)

        return inside


class Replay:
    """While a definition is run again for its gradient: states stay as they are, random numbers are those of then."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __enter__(self) -> None:
        self.previous, STATE.replay = STATE.replay, (copy.deepcopy(self.generator),)

    def __exit__(self, *exc: object) -> None:
        STATE.replay = self.previous
