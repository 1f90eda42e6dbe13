"""A device whose array functions are logged: ``mx.Context("tracing")``."""

from .log import Call, log, report, reset

__all__ = ["Call", "log", "report", "reset"]
