"""Kernels of the NumPy backend, by operator; the modules are imported at the first call of an operator."""

from typing import Any

_HERE = "mxcore_numpy.kernels"

TABLE: dict[str, Any] = {
    "Convolution": f"{_HERE}.conv:convolution",
    "_conv": f"{_HERE}.conv:conv",
    "_conv_data": f"{_HERE}.conv:conv_data",
    "_conv_weight": f"{_HERE}.conv:conv_weight",
    "Pooling": f"{_HERE}.pooling:pooling",
    "_pool_spread": f"{_HERE}.pooling:spread",
    "_pool_scatter": f"{_HERE}.pooling:scatter",
}
