"""Optimizers: how weights follow from gradients (``mx.optimizer``).

>>> optimizer = create("adam", learning_rate=0.01)
>>> updater = get_updater(optimizer)
>>> weight = nd.array([1.])
>>> updater(0, nd.array([1.]), weight)
>>> round(weight.asscalar(), 4)
0.99
"""

from . import contrib, optimizer
from .adaptive import FTML, AdaDelta, AdaGrad, Adam, Adamax, Ftrl, Nadam, RMSProp
from .base import Optimizer, create, register
from .contrib import GroupAdaGrad
from .layerwise import LAMB, LARS, LBSGD
from .sgd import DCASGD, NAG, SGD, SGLD, Signum, Test, ccSGD
from .updater import Updater, get_updater

__all__ = [
    "AdaDelta", "AdaGrad", "Adam", "Adamax", "DCASGD", "FTML", "Ftrl", "GroupAdaGrad", "LAMB", "LARS", "LBSGD", "NAG",
    "Nadam", "Optimizer", "RMSProp", "SGD", "SGLD", "Signum", "Test", "Updater", "ccSGD", "contrib", "create",
    "get_updater", "optimizer", "register",
]
