"""Which operators get which kernels."""

from mxcore.registry.kernels import KernelEntry

__all__ = ["TABLE"]

_CONVOLUTION = "mxcore_onednn.convolution:"
_PRODUCT = "mxcore_onednn.product:"

TABLE = {
    "Convolution": KernelEntry(bind=_CONVOLUTION + "bind_convolution", priority=10, source="onednn"),
    "Deconvolution": KernelEntry(bind=_CONVOLUTION + "bind_deconvolution", priority=10, source="onednn"),
    "_conv": KernelEntry(bind=_CONVOLUTION + "bind_conv", priority=10, source="onednn"),
    "_conv_data": KernelEntry(bind=_CONVOLUTION + "bind_conv_data", priority=10, source="onednn"),
    "_conv_weight": KernelEntry(bind=_CONVOLUTION + "bind_conv_weight", priority=10, source="onednn"),
    "FullyConnected": KernelEntry(bind=_PRODUCT + "bind_dense", priority=10, source="onednn"),
    "dot": KernelEntry(bind=_PRODUCT + "bind_dot", priority=10, source="onednn"),
    "batch_dot": KernelEntry(bind=_PRODUCT + "bind_batch_dot", priority=10, source="onednn"),
    "_backward_dot": KernelEntry(bind=_PRODUCT + "bind_backward_dot", priority=10, source="onednn"),
}
