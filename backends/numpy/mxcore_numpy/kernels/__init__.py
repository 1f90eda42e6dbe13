"""Kernels of the NumPy backend, by operator; the modules are imported at the first call of an operator."""

from typing import Any

from mxcore.registry.kernels import KernelEntry

_HERE = "mxcore_numpy.kernels"

#: optimizer updates that are made in place, and their functions in ``update.py``
_UPDATES = {
    "sgd_update": "sgd", "sgd_mom_update": "sgd_mom", "nag_mom_update": "nag_mom", "adam_update": "adam",
    "rmsprop_update": "rmsprop", "multi_sgd_update": "multi_sgd", "multi_sgd_mom_update": "multi_sgd_mom",
    "_multi_nag_mom_update": "multi_nag_mom", "_multi_adam_update": "multi_adam", "_multi_rmsprop_update": "multi_rmsprop",
    "_adagrad_update": "adagrad", "_multi_adagrad_update": "multi_adagrad",
}

TABLE: dict[str, Any] = {
    "_fused": KernelEntry(f"{_HERE}.fused:fused", bind=f"{_HERE}.fused:bind"),
    "SequenceMask": KernelEntry(f"{_HERE}.indexing:sequence_mask", accepts=f"{_HERE}.indexing:has_lengths"),
    "_backward_take": KernelEntry(f"{_HERE}.indexing:take_back", accepts=f"{_HERE}.indexing:worth_a_product",
                                  bind=f"{_HERE}.indexing:bind_take_back"),
    "pick": KernelEntry(bind=f"{_HERE}.indexing:bind_pick"),
    "_backward_pick": KernelEntry(bind=f"{_HERE}.indexing:bind_pick_back"),
    "take": KernelEntry(bind=f"{_HERE}.indexing:bind_take"),
    "Embedding": KernelEntry(bind=f"{_HERE}.indexing:bind_embedding"),
    "_grad0_relu": f"{_HERE}.activation:backward_relu",
    "Convolution": f"{_HERE}.conv:convolution",
    "_conv": f"{_HERE}.conv:conv",
    "_conv_data": f"{_HERE}.conv:conv_data",
    "_conv_weight": f"{_HERE}.conv:conv_weight",
    "Pooling": f"{_HERE}.pooling:pooling",
    "_pool_spread": f"{_HERE}.pooling:spread",
    "_pool_scatter": f"{_HERE}.pooling:scatter",
    "BatchNorm": f"{_HERE}.norm:batch_norm",
    "_backward_BatchNorm": f"{_HERE}.norm:batch_norm_backward",
    "LayerNorm": f"{_HERE}.norm:layer_norm",
    "_backward_LayerNorm": f"{_HERE}.norm:backward_layer_norm",
    "GroupNorm": f"{_HERE}.norm:group_norm",
    "InstanceNorm": f"{_HERE}.norm:group_norm",
    "_backward_GroupNorm": f"{_HERE}.norm:backward_group_norm",
    "softmax": f"{_HERE}.softmax:softmax",
    "log_softmax": f"{_HERE}.softmax:log_softmax",
    "_backward_softmax": f"{_HERE}.softmax:backward_softmax",
    "_backward_log_softmax": f"{_HERE}.softmax:backward_log_softmax",
    "RNN": KernelEntry(f"{_HERE}.rnn:rnn", bind=f"{_HERE}.rnn:bind_rnn"),
    "_backward_RNN": KernelEntry(f"{_HERE}.rnn:backward_rnn", bind=f"{_HERE}.rnn:bind_backward_rnn"),
    "CTCLoss": f"{_HERE}.ctc:ctc_loss",
    "_backward_CTCLoss": f"{_HERE}.ctc:backward_ctc_loss",
    **{name: KernelEntry(into=f"{_HERE}.update:{function}") for name, function in _UPDATES.items()},
}
