"""The kernels that a backend enters besides functions and expressions (``mxcore_kernels`` of its plugin)."""

from __future__ import annotations

from typing import Any

from .updates import table as updates

__all__ = ["kernels"]

_WINDOWS = {"_conv": "conv", "_conv_data": "conv_data", "_conv_weight": "conv_weight", "Pooling": "pooling",
            "_pool_spread": "spread", "_pool_scatter": "scatter"}
_ROWS = {"softmax": "softmax", "log_softmax": "log_softmax", "_backward_softmax": "backward_softmax",
         "_backward_log_softmax": "backward_log_softmax", "softmax_cross_entropy": "softmax_cross_entropy",
         "_one_hot_like": "one_hot_like", "_backward_SoftmaxOutput": "backward_softmax_output"}
_NORMS = {"BatchNorm": "batch_norm", "_backward_BatchNorm": "backward_batch_norm", "_contrib_SyncBatchNorm": "sync_batch_norm",
          "_contrib_BatchNormWithReLU": "batch_norm_with_relu",
          "LayerNorm": "layer_norm", "_backward_LayerNorm": "backward_layer_norm", "GroupNorm": "group_norm",
          "InstanceNorm": "instance_norm", "_backward_GroupNorm": "backward_group_norm"}
_PRODUCTS = {"FullyConnected": "dense"}
_MODULES = {"dropout": {"Dropout": "dropout"}, "products": _PRODUCTS, "windows": _WINDOWS, "rows": _ROWS, "norms": _NORMS}


def kernels() -> dict[str, Any]:
    """Operator to kernel, or where it is."""
    return {**updates(), **{op: f"mxcore_device.{module}:{function}" for module, table in _MODULES.items()
                            for op, function in table.items()}}
