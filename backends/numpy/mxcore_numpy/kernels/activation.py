"""Gradients of activation functions."""

from typing import Any

import numpy as np


def backward_relu(xp: Any, g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``_grad0_relu``: a product with the mask; choosing by it would mispredict every other branch."""
    return np.multiply(g, np.greater(y, 0))
