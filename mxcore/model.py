"""Checkpoints: a symbol and its parameters in two files, as Module and Gluon's ``export`` write them."""

from collections import namedtuple

from . import ndarray as nd
from . import symbol as sym
from .errors import FileFormatError

__all__ = ["BatchEndParam", "load_checkpoint", "load_params", "save_checkpoint"]

#: What callbacks at the end of a batch are given.
BatchEndParam = namedtuple("BatchEndParam", ["epoch", "nbatch", "eval_metric", "locals"])


def save_checkpoint(prefix: str, epoch: int, symbol: "sym.Symbol | None", arg_params: dict[str, nd.NDArray],
                    aux_params: dict[str, nd.NDArray], remove_amp_cast: bool = True) -> None:
    """Write ``<prefix>-symbol.json`` and ``<prefix>-<epoch, 4 digits>.params``.

    Parameters
    ----------
    prefix : str
        Start of the file names.
    epoch : int
        Number of the epoch.
    symbol : Symbol, optional
        The network; None writes no symbol file.
    arg_params, aux_params : dict of str to NDArray
        Arguments and auxiliary states by name.
    remove_amp_cast : bool
        Whether casts that mixed precision put in are left out of the symbol.

    Examples
    --------
    >>> import mxcore as mx, os, tempfile
    >>> prefix = os.path.join(tempfile.mkdtemp(), "net")
    >>> save_checkpoint(prefix, 3, mx.sym.relu(mx.sym.var("w")), {"w": mx.nd.ones((2,))}, {})
    >>> symbol, args, aux = load_checkpoint(prefix, 3)
    >>> symbol.list_arguments(), args["w"].shape, aux
    (['w'], (2,), {})
    """
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
    arrays = {f"arg:{name}": array for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array for name, array in aux_params.items()})
    nd.save(f"{prefix}-{epoch:04d}.params", arrays)


def load_params(prefix: str, epoch: int) -> tuple[dict[str, nd.NDArray], dict[str, nd.NDArray]]:
    """Read ``<prefix>-<epoch, 4 digits>.params``: arguments and auxiliary states.

    Raises
    ------
    FileFormatError
        The file is damaged, or its arrays are not called ``arg:...`` or ``aux:...``.
    """
    filename = f"{prefix}-{epoch:04d}.params"
    found = nd.load(filename)
    kinds: dict[str, dict[str, nd.NDArray]] = {"arg": {}, "aux": {}}
    if not isinstance(found, dict):
        if found:
            raise FileFormatError(f"{filename} is no checkpoint: its {len(found)} arrays have no names")
        found = {}  # a checkpoint without parameters
    for key, array in found.items():
        kind, colon, name = key.partition(":")
        if not colon or kind not in kinds:
            raise FileFormatError(f"{filename} is no checkpoint: the name {key!r} starts with neither 'arg:' nor "
                                  "'aux:'")
        kinds[kind][name] = array
    return kinds["arg"], kinds["aux"]


def load_checkpoint(prefix: str, epoch: int) -> tuple["sym.Symbol", dict[str, nd.NDArray], dict[str, nd.NDArray]]:
    """Read what :func:`save_checkpoint`, ``Module.save_checkpoint`` or ``HybridBlock.export`` wrote.

    Returns
    -------
    symbol : Symbol
    arg_params, aux_params : dict of str to NDArray
    """
    symbol = sym.load(f"{prefix}-symbol.json")
    return symbol, *load_params(prefix, epoch)
