"""Numbers of oneDNN's C API (3.x): what kinds, algorithms and arguments are called in it."""

from enum import IntEnum

import numpy as np

from mxcore.dtype import bfloat16

__all__ = ["ANY", "TYPES", "Algorithm", "Arg", "Propagation", "Status", "moved_as", "type_code"]

ANY = 1  #: format tag: oneDNN chooses the layout

#: NumPy type -> data type
TYPES: dict[str, int] = {"float16": 1, "bfloat16": 2, "float32": 3, "int32": 4, "int8": 5, "uint8": 6, "float64": 7}


def type_code(dtype: np.dtype) -> int:
    """oneDNN's number of a NumPy type.

    >>> type_code(np.dtype("float32"))
    3
    """
    return TYPES[dtype.name]


def moved_as(dtype: np.dtype) -> np.dtype:
    """The type as which arrays of a type are copied into another order of axes.

    oneDNN 3.2 has only slow copies of float16; bfloat16 has as many bits. (A signalling nan of either may become a quiet
    one.)

    >>> moved_as(np.dtype("float16")).name, moved_as(np.dtype("float32")).name
    ('bfloat16', 'float32')
    """
    return bfloat16() if dtype.char == "e" else dtype


class Status(IntEnum):
    """What functions of the C API return."""

    SUCCESS = 0
    OUT_OF_MEMORY = 1
    INVALID_ARGUMENTS = 2
    UNIMPLEMENTED = 3
    LAST_IMPLEMENTATION = 4
    RUNTIME_ERROR = 5
    NOT_REQUIRED = 6


class Propagation(IntEnum):
    """Which of a family of primitives."""

    TRAINING = 64
    INFERENCE = 96
    BACKWARD = 128
    BACKWARD_DATA = 160
    BACKWARD_WEIGHTS = 192
    BACKWARD_BIAS = 193


class Algorithm(IntEnum):
    """Which arithmetic."""

    CONVOLUTION = 1
    WINOGRAD = 2
    AUTO = 3
    DECONVOLUTION = 10
    RELU = 32
    TANH = 33
    ELU = 34
    SQUARE = 35
    ABS = 36
    SQRT = 37
    LINEAR = 38
    SOFT_RELU = 39
    HARD_SIGMOID = 40
    LOGISTIC = 41
    EXP = 42
    GELU_TANH = 43
    SWISH = 44
    LOG = 45
    CLIP = 46
    CLIP_V2 = 47
    POW = 48
    GELU_ERF = 49
    ROUND = 50
    MISH = 51
    HARD_SWISH = 52
    POOL_MAX = 511
    POOL_AVG_WITH_PADDING = 767
    POOL_AVG = 1023
    VANILLA_RNN = 8191
    LSTM = 12287
    GRU = 16383
    GRU_LINEAR_BEFORE_RESET = 20479
    ADD = 131056
    MUL = 131057
    MAX = 131058
    MIN = 131059
    DIV = 131060
    SUB = 131061
    SOFTMAX = 196608
    LOG_SOFTMAX = 196609


class Arg(IntEnum):
    """Arguments of a primitive."""

    SRC = 1
    SRC_1 = 2
    SRC_2 = 3
    DST = 17
    DST_1 = 18
    DST_2 = 19
    WEIGHTS = 33
    WEIGHTS_1 = 34
    BIAS = 41
    MEAN = 49
    VARIANCE = 50
    SCALE = 51
    SHIFT = 52
    WORKSPACE = 64
    SCRATCHPAD = 80
    DIFF_SRC = 129
    DIFF_SRC_1 = 130
    DIFF_SRC_2 = 131
    DIFF_DST = 145
    DIFF_DST_1 = 146
    DIFF_DST_2 = 147
    DIFF_WEIGHTS = 161
    DIFF_WEIGHTS_1 = 162
    DIFF_BIAS = 169
    DIFF_SCALE = 255
    DIFF_SHIFT = 256

    @staticmethod
    def post(index: int) -> int:
        """The second operand of the binary post-op at ``index``."""
        return 32768 * (index + 1) | Arg.SRC_1

    @staticmethod
    def scales(argument: int) -> int:
        """The scales of an argument."""
        return 4096 | argument

    @staticmethod
    def zero_point(argument: int) -> int:
        """The zero point of an argument."""
        return 8192 | argument
