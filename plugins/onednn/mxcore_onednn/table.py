"""Which operators get which kernels."""

from mxcore.registry.kernels import KernelEntry

__all__ = ["TABLE"]


def _entry(module: str, name: str) -> KernelEntry:
    """Kernels by their names: ``NAME`` and ``takes_NAME`` for eager calls, ``bind_NAME`` for compiled programs."""
    eager, bound = f"mxcore_onednn.{module}_eager:", f"mxcore_onednn.{module}:"
    return KernelEntry(eager + name, 10, f"{eager}takes_{name}", "onednn", f"{bound}bind_{name}")


def _compiled(module: str, name: str) -> KernelEntry:
    """A kernel for compiled programs alone: ``bind_NAME``."""
    return KernelEntry(None, 10, None, "onednn", f"mxcore_onednn.{module}:bind_{name}")


def _both(module: str, name: str) -> KernelEntry:
    """As :func:`_entry`, where one module has both forms."""
    here = f"mxcore_onednn.{module}:"
    return KernelEntry(here + name, 10, f"{here}takes_{name}", "onednn", f"{here}bind_{name}")


TABLE = {
    "Convolution": _entry("convolution", "convolution"),
    "Deconvolution": _entry("convolution", "deconvolution"),
    "_conv": _entry("convolution", "conv"),
    "_conv_data": _entry("convolution", "conv_data"),
    "_conv_weight": _entry("convolution", "conv_weight"),
    "Pooling": _entry("pooling", "pooling"),
    "_pool_scatter": _entry("pooling", "pool_scatter"),
    "_pool_spread": _entry("pooling", "pool_spread"),
    "FullyConnected": _compiled("product", "dense"),
    "dot": _compiled("product", "dot"),
    "_backward_dot": _compiled("product", "backward_dot"),
    "batch_dot": _compiled("product", "batch_dot"),
    "BatchNorm": _compiled("norm", "batch_norm"),
    "_contrib_SyncBatchNorm": _compiled("norm", "batch_norm"),
    "_contrib_BatchNormWithReLU": _compiled("norm", "batch_norm_with_relu"),
    "_backward_BatchNorm": _compiled("norm", "backward_batch_norm"),
    "LayerNorm": _compiled("norm", "layer_norm"),
    "_backward_LayerNorm": _compiled("norm", "backward_layer_norm"),
    "softmax": _compiled("softmax", "softmax"),
    "log_softmax": _compiled("softmax", "log_softmax"),
    "_backward_softmax": _compiled("softmax", "backward_softmax"),
    "_backward_log_softmax": _compiled("softmax", "backward_log_softmax"),
    "RNN": _both("recurrent", "rnn"),
    "_backward_RNN": _both("recurrent", "backward_rnn"),
    "_fused": _compiled("eltwise", "fused"),
    "_copy": _compiled("rearrange", "copy"),
    "Concat": _compiled("rearrange", "concat"),
    **dict.fromkeys(("Reshape", "Flatten", "_rows", "_reshape_to_like", "reshape_like"), _compiled("rearrange", "reshape")),
}
