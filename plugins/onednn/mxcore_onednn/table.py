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


def _layer(module: str, name: str) -> KernelEntry:
    """As :func:`_entry`, with the eager form in ``layers_eager.py``."""
    eager = "mxcore_onednn.layers_eager:"
    return KernelEntry(eager + name, 10, f"{eager}takes_{name}", "onednn", f"mxcore_onednn.{module}:bind_{name}")


TABLE = {
    "Convolution": _entry("convolution", "convolution"),
    "Deconvolution": _entry("convolution", "deconvolution"),
    "_conv": _entry("convolution", "conv"),
    "_conv_data": _entry("convolution", "conv_data"),
    "_conv_weight": _entry("convolution", "conv_weight"),
    "Pooling": _entry("pooling", "pooling"),
    "_pool_scatter": _entry("pooling", "pool_scatter"),
    "_pool_spread": _entry("pooling", "pool_spread"),
    "FullyConnected": _layer("product", "dense"),
    "dot": _layer("product", "dot"),
    "_backward_dot": _layer("product", "backward_dot"),
    "batch_dot": _layer("product", "batch_dot"),
    "BatchNorm": _layer("norm", "batch_norm"),
    "_contrib_SyncBatchNorm": _compiled("norm", "batch_norm"),
    "_contrib_BatchNormWithReLU": _compiled("norm", "batch_norm_with_relu"),
    "_backward_BatchNorm": _layer("norm", "backward_batch_norm"),
    "LayerNorm": _layer("norm", "layer_norm"),
    "_backward_LayerNorm": _layer("norm", "backward_layer_norm"),
    "softmax": _layer("softmax", "softmax"),
    "log_softmax": _layer("softmax", "log_softmax"),
    "_backward_softmax": _layer("softmax", "backward_softmax"),
    "_backward_log_softmax": _layer("softmax", "backward_log_softmax"),
    "RNN": _both("recurrent", "rnn"),
    "_backward_RNN": _both("recurrent", "backward_rnn"),
    "_gelu": _layer("eltwise", "gelu"),
    "_grad0__gelu": _layer("eltwise", "backward_gelu"),
    "_fused": _compiled("eltwise", "fused"),
    "_copy": _compiled("rearrange", "copy"),
    "Concat": _compiled("rearrange", "concat"),
    **dict.fromkeys(("Reshape", "Flatten", "_rows", "_reshape_to_like", "reshape_like"), _compiled("rearrange", "reshape")),
}
