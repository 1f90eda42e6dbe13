"""Hooks: functions that are called around a block's forward pass, and the handle that takes one away again."""

from collections.abc import Callable
from types import TracebackType

__all__ = ["HookHandle"]


class HookHandle:
    """Stands for one hook in a table of hooks; :meth:`detach` removes it, as does leaving a ``with`` on the handle.

    Examples
    --------
    >>> hooks = {}
    >>> handle = HookHandle()
    >>> handle.attach(hooks, print)
    >>> handle.detach()
    >>> hooks
    {}
    """

    def __init__(self) -> None:
        self._hooks: dict[int, Callable] | None = None

    def attach(self, hooks: dict[int, Callable], hook: Callable) -> None:
        """Enter ``hook`` in a table; a handle serves for one hook.

        Raises
        ------
        RuntimeError
            The handle has a hook already.
        """
        if self._hooks is not None:
            raise RuntimeError("the same handle cannot be attached twice")
        self._hooks = hooks
        hooks[id(self)] = hook

    def detach(self) -> None:
        """Remove the hook; nothing happens the second time."""
        if self._hooks is not None:
            self._hooks.pop(id(self), None)

    def __enter__(self) -> "HookHandle":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.detach()
