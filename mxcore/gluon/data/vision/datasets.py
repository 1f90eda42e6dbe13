"""Datasets of pictures: MNIST and its relatives, CIFAR, folders of files. Local files are used first."""

import hashlib
import os
import tarfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ....base import config
from ....context import cpu
from ....errors import FileFormatError, MXNetError
from ....files.atomic import atomic_write
from ....files.idx import read_idx
from ....files.image import read_image
from ...download import download
from ..batchify import from_host
from ..dataset import Dataset

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "ImageFolderDataset"]


def _default_root(name: str) -> str:
    return os.path.join(config("MXCORE_HOME") or os.path.join("~", ".mxnet"), "datasets", name)


def _sources(repository: str, name: str, *mirrors: str) -> list[str]:
    """Where to download a file: the user's own repository if one is set, else the mirrors."""
    own = config("MXCORE_GLUON_REPO")
    if own:
        return [f"{own.rstrip('/')}/gluon/dataset/{repository}/{name}"]
    return [f"{mirror}/{name}" for mirror in mirrors]


class _PictureDataset(Dataset):
    """Pictures in one NDArray, labels in one NumPy array.

    A sample is a pair: an NDArray (uint8, height x width x channels, sharing memory with the dataset) and a
    ``numpy.int32``; or what ``transform(data, label)`` makes of them.
    """

    def __init__(self, root: str | os.PathLike | None, name: str, transform: Callable | None) -> None:
        self._root = os.path.expanduser(root if root is not None else _default_root(name))
        self._transform = transform
        self._pictures, self._label = self._read(Path(self._root))
        self._data = from_host(self._pictures, cpu())

    def _read(self, root: Path) -> tuple[np.ndarray, np.ndarray]:
        """Pictures (uint8, NHWC) and labels (int32)."""
        raise NotImplementedError

    def __getitem__(self, idx: int) -> Any:
        data = from_host(np.ascontiguousarray(self._pictures[idx]), cpu())
        if self._transform is not None:
            return self._transform(data, self._label[idx])
        return data, self._label[idx]

    def __len__(self) -> int:
        return len(self._label)


class MNIST(_PictureDataset):
    """The MNIST database of handwritten digits (LeCun, Cortes, Burges): 60,000 and 10,000 pictures of 28 x 28 x 1.

    Parameters
    ----------
    root : path, optional
        Folder of the IDX files (``train-images-idx3-ubyte`` and so on, gzipped or not). What is missing is downloaded
        to it. Default: ``$MXCORE_HOME/datasets/mnist``, or ``~/.mxnet/datasets/mnist``.
    train : bool
        The training set or the test set.
    transform : callable, optional
        ``transform(data, label)`` is applied to every sample when it is read.

    Raises
    ------
    FileFormatError
        If a file is damaged, or pictures and labels do not go together.
    MXNetError
        If files are missing and cannot be downloaded.

    Examples
    --------
    >>> digits = MNIST(train=False)                                             # doctest: +SKIP
    >>> digits[0][0].shape, digits[0][1]                                        # doctest: +SKIP
    ((28, 28, 1), np.int32(7))
    """

    _name = "mnist"
    _mirrors: ClassVar = ("https://ossci-datasets.s3.amazonaws.com/mnist",
                          "https://storage.googleapis.com/cvdf-datasets/mnist")
    #: train or not -> name and SHA-1 of the gzipped files of pictures and labels
    _files: ClassVar = {
        True: (("train-images-idx3-ubyte.gz", "6c95f4b05d2bf285e1bfb0e7960c31bd3b3f8a7d"),
               ("train-labels-idx1-ubyte.gz", "2a80914081dc54586dbdf242f9805a6b8d2a15fc")),
        False: (("t10k-images-idx3-ubyte.gz", "c3a25af1f52dad7f726cce8cacb138654b760d48"),
                ("t10k-labels-idx1-ubyte.gz", "763e7fa3757d93b0cdec073cef058b2004252c17")),
    }

    def __init__(self, root: str | os.PathLike | None = None, train: bool = True,
                 transform: Callable | None = None) -> None:
        self._train = bool(train)
        super().__init__(root, self._name, transform)

    def _read(self, root: Path) -> tuple[np.ndarray, np.ndarray]:
        (pictures, _), (labels, _) = self._files[self._train]
        data, label = (read_idx(self._find(root, *file)) for file in self._files[self._train])
        if data.dtype != np.uint8 or data.ndim != 3 or label.shape != data.shape[:1]:
            raise FileFormatError(f"{pictures} and {labels} in {root} do not go together: {data.dtype} {data.shape} "
                                  f"and {label.dtype} {label.shape}; expected uint8 (N, height, width) and (N,)")
        return data[..., None], label.astype(np.int32)

    def _find(self, root: Path, name: str, sha1: str) -> Path:
        """A file of ``root``, unzipped or not; downloaded if it is not there."""
        for path in (root / name, root / name.removesuffix(".gz")):
            if path.is_file():
                return path
        return Path(download(_sources(self._name, name, *self._mirrors), root / name, sha1_hash=sha1))


class FashionMNIST(MNIST):
    """Zalando's pictures of clothes (https://github.com/zalandoresearch/fashion-mnist), in the form of MNIST.

    Parameters as for :class:`MNIST`; the default folder is ``.../datasets/fashion-mnist``.
    """

    _name = "fashion-mnist"
    _mirrors: ClassVar = ("https://fashion-mnist.s3-eu-central-1.amazonaws.com",
                          "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion")
    _files: ClassVar = {
        True: (("train-images-idx3-ubyte.gz", "0cf37b0d40ed5169c6b3aba31069a9770ac9043d"),
               ("train-labels-idx1-ubyte.gz", "236021d52f1e40852b06a4c3008d8de8aef1e40b")),
        False: (("t10k-images-idx3-ubyte.gz", "626ed6a7c06dd17c0eec72fa3be1740f146a2863"),
                ("t10k-labels-idx1-ubyte.gz", "17f9ab60e7257a1620f4ad76bbbaf857c3920701")),
    }


class CIFAR10(_PictureDataset):
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 pictures of 32 x 32 x 3 in ten classes.

    Parameters
    ----------
    root : path, optional
        Folder of the binary version: ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, in it or in
        its folder ``cifar-10-batches-bin``. If none of the files is there, they are downloaded. Default:
        ``$MXCORE_HOME/datasets/cifar10``, or ``~/.mxnet/datasets/cifar10``.
    train : bool
        The training set or the test set.
    transform : callable, optional
        ``transform(data, label)`` is applied to every sample when it is read.

    Raises
    ------
    FileFormatError
        If a file does not consist of whole records.
    MXNetError
        If files are missing and cannot be downloaded.

    Notes
    -----
    If only some of the training files are there, those are used, and a warning names the others.
    """

    _name = "cifar10"
    _archive = "cifar-10-binary.tar.gz"
    _folder = "cifar-10-batches-bin"
    _label_bytes = 1
    _label_at = 0
    #: train or not -> names and SHA-1 of the files
    _files: ClassVar = {
        True: (("data_batch_1.bin", "aadd24acce27caa71bf4b10992e9e7b2d74c2540"),
               ("data_batch_2.bin", "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795"),
               ("data_batch_3.bin", "1dd00a74ab1d17a6e7d73e185b69dbf31242f295"),
               ("data_batch_4.bin", "aab85764eb3584312d3c7f65fd2fd016e36a258e"),
               ("data_batch_5.bin", "26e2849e66a845b7f1e4614ae70f4889ae604628")),
        False: (("test_batch.bin", "67eb016db431130d61cd03c7ad570b013799c88c"),),
    }

    def __init__(self, root: str | os.PathLike | None = None, train: bool = True,
                 transform: Callable | None = None) -> None:
        self._train = bool(train)
        super().__init__(root, self._name, transform)

    def _read(self, root: Path) -> tuple[np.ndarray, np.ndarray]:
        names = [name for name, _ in self._files[self._train]]
        paths = self._find(root, names)
        if not paths:
            self._fetch(root)
            paths = self._find(root, names)
        absent = sorted(set(names) - {path.name for path in paths})
        if absent:
            warnings.warn(f"{type(self).__name__}: {', '.join(absent)} not found in {paths[0].parent}; using the "
                          f"{len(paths)} of {len(names)} files that are there", UserWarning, stacklevel=4)
        records = np.concatenate([self._records(path) for path in paths])
        pictures = records[:, self._label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(pictures), records[:, self._label_at].astype(np.int32)

    def _find(self, root: Path, names: Iterable[str]) -> list[Path]:
        """The files of ``root`` or, if it has none, of its sub-folder."""
        for folder in (root, root / self._folder):
            found = [folder / name for name in names if (folder / name).is_file()]
            if found:
                return found
        return []

    def _records(self, path: Path) -> np.ndarray:
        raw = np.fromfile(path, np.uint8)
        size = self._label_bytes + 3072
        if not raw.size or raw.size % size:
            raise FileFormatError(f"{path} has {raw.size} bytes: not a whole number of records of {size} bytes (label "
                                  f"and 32 x 32 x 3 pixels); is it truncated, or of another data set?")
        return raw.reshape(-1, size)

    def _fetch(self, root: Path) -> None:
        """Download the archive and take its files out, each checked; nothing else of it is written."""
        sources = _sources(self._name, self._archive, "https://www.cs.toronto.edu/~kriz")
        archive = download(sources, root / self._archive)
        wanted = {name: sha1 for files in self._files.values() for name, sha1 in files}
        with tarfile.open(archive) as tar:
            for member in tar:
                name = os.path.basename(member.name)
                stream = tar.extractfile(member) if name in wanted else None
                if stream is None:
                    continue
                content = stream.read()
                if hashlib.sha1(content, usedforsecurity=False).hexdigest() != wanted[name]:
                    raise MXNetError(f"{name} in {archive} is damaged: its SHA-1 is not {wanted[name]}; delete the "
                                     f"archive and try again")
                with atomic_write(root / name) as file:
                    file.write(content)


class CIFAR100(CIFAR10):
    """CIFAR-100 (Krizhevsky 2009): as CIFAR-10, with 100 classes in 20 groups.

    Parameters
    ----------
    root : path, optional
        Folder of ``train.bin`` and ``test.bin``. Default: ``.../datasets/cifar100``.
    fine_label : bool
        Labels are classes (0 to 99) rather than groups (0 to 19).
    train, transform
        As for :class:`CIFAR10`.
    """

    _name = "cifar100"
    _archive = "cifar-100-binary.tar.gz"
    _folder = "cifar-100-binary"
    _label_bytes = 2
    _files: ClassVar = {
        True: (("train.bin", "e207cd2e05b73b1393c74c7f5e7bea451d63e08e"),),
        False: (("test.bin", "8fb6623e830365ff53cf14adec797474f5478006"),),
    }

    def __init__(self, root: str | os.PathLike | None = None, fine_label: bool = False, train: bool = True,
                 transform: Callable | None = None) -> None:
        self._label_at = int(fine_label)
        super().__init__(root, train, transform)


class ImageFolderDataset(Dataset):
    """Pictures in folders, one folder per class: ``root/car/0001.jpg``, ``root/bus/123.png``, ...

    Parameters
    ----------
    root : path
        The folder of the classes' folders.
    flag : {0, 1}
        1: pictures have three channels (red, green, blue). 0: they are grey, with one.
    transform : callable, optional
        ``transform(data, label)`` is applied to every sample when it is read.

    Attributes
    ----------
    synsets : list of str
        Names of the classes in order; ``synsets[i]`` has the label ``i``.
    items : list of (str, int)
        Path and label of every picture.

    Raises
    ------
    FileNotFoundError
        If ``root`` does not exist.
    """

    def __init__(self, root: str | os.PathLike, flag: int = 1, transform: Callable | None = None) -> None:
        self._root = os.path.expanduser(root)
        self._flag = flag
        self._transform = transform
        self._exts = [".jpg", ".jpeg", ".png"]
        self.synsets: list[str] = []
        self.items: list[tuple[str, int]] = []
        for folder in sorted(os.listdir(self._root)):
            path = os.path.join(self._root, folder)
            if not os.path.isdir(path):
                warnings.warn(f"Ignoring {path}, which is not a directory.", stacklevel=2)
                continue
            for name in sorted(os.listdir(path)):
                extension = os.path.splitext(name)[1]
                if extension.lower() in self._exts:
                    self.items.append((os.path.join(path, name), len(self.synsets)))
                else:
                    warnings.warn(f"Ignoring {os.path.join(path, name)} of type {extension or 'none'}. Only support "
                                  f"{', '.join(self._exts)}", stacklevel=2)
            self.synsets.append(folder)

    def __getitem__(self, idx: int) -> Any:
        path, label = self.items[idx]
        data = from_host(read_image(path, self._flag), cpu())
        return (data, label) if self._transform is None else self._transform(data, label)

    def __len__(self) -> int:
        return len(self.items)
