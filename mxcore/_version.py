"""The version of mxcore, the only place where the core states it (the build reads it from here)."""

__version__ = "0.1.0"
