"""MNIST, CIFAR and picture folders from small files made here; the real ones where they are at hand."""

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx
from mxcore.errors import FileFormatError, MXNetError
from mxcore.gluon.data import vision

DATA = Path(__file__).parents[2].parent / "shared" / "data"
rng = np.random.default_rng(0)


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def digits(root, kind="t10k", count=5, zipped=True):
    """IDX files of random digits; returns pictures and labels."""
    pictures = rng.integers(0, 256, (count, 28, 28), np.uint8)
    labels = rng.integers(0, 10, count).astype(np.uint8)
    for name, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        content = idx(array)
        (root / f"{kind}-{name}-ubyte{'.gz' * zipped}").write_bytes(gzip.compress(content) if zipped else content)
    return pictures, labels


def records(count, label_bytes=1):
    made = rng.integers(0, 10, (count, label_bytes + 3072)).astype(np.uint8)
    made[:, label_bytes:] = rng.integers(0, 256, (count, 3072))
    return made


@pytest.mark.parametrize("kind", [vision.MNIST, vision.FashionMNIST])
@pytest.mark.parametrize("zipped", [True, False])
def test_mnist(tmp_path, kind, zipped):
    pictures, labels = digits(tmp_path, zipped=zipped)
    ds = kind(root=str(tmp_path), train=False)
    assert len(ds) == 5
    data, label = ds[3]
    assert isinstance(data, mx.nd.NDArray) and data.shape == (28, 28, 1) and data.dtype == np.uint8
    assert data.context == mx.cpu()
    assert type(label) is np.int32 and label == labels[3]
    assert (data.asnumpy()[..., 0] == pictures[3]).all()
    several, some = ds[1:3]
    assert several.shape == (2, 28, 28, 1) and some.tolist() == labels[1:3].tolist()
    assert (ds[::-1][0].asnumpy()[0, :, :, 0] == pictures[-1]).all()
    assert ds[-1][1] == labels[-1] and ds[np.int64(2)][1] == labels[2]
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 5"):
        ds[5]


def test_transform_of_a_dataset(tmp_path):
    pictures, labels = digits(tmp_path, "train")
    ds = vision.MNIST(tmp_path, True, lambda data, label: (data.astype("float32") / 255, float(label)))
    data, label = ds[2]
    assert data.dtype == np.float32 and label == float(labels[2])
    assert np.allclose(data.asnumpy()[..., 0], pictures[2] / 255)
    batch, _ = next(iter(mx.gluon.data.DataLoader(ds, 4)))
    assert batch.shape == (4, 28, 28, 1)


def test_mnist_files_that_do_not_fit(tmp_path):
    digits(tmp_path, count=5)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(4, np.uint8))))
    with pytest.raises(FileFormatError, match=r"do not go together.*\(5, 28, 28\).*\(4,\)"):
        vision.MNIST(tmp_path, train=False)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8bgarbage")
    with pytest.raises(FileFormatError, match="gzip"):
        vision.MNIST(tmp_path, train=False)


def test_default_folder(tmp_path, monkeypatch):
    folder = tmp_path / "datasets" / "mnist"
    folder.mkdir(parents=True)
    digits(folder)
    monkeypatch.setenv("MXCORE_HOME", str(tmp_path))
    assert len(vision.MNIST(train=False)) == 5
    monkeypatch.delenv("MXCORE_HOME")
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    assert len(vision.MNIST(train=False)) == 5
    monkeypatch.delenv("MXNET_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    folder.parent.rename(tmp_path / ".moved")
    (tmp_path / ".mxnet").mkdir()
    (tmp_path / ".moved").rename(tmp_path / ".mxnet" / "datasets")
    assert len(vision.MNIST(train=False)) == 5


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder that is downloaded from."""
    folder = tmp_path / "repository" / "gluon" / "dataset"
    monkeypatch.setenv("MXCORE_GLUON_REPO", (tmp_path / "repository").as_uri())
    monkeypatch.setattr("mxcore.gluon.download.time.sleep", lambda seconds: None)
    return folder


def sha1(content):
    return hashlib.sha1(content).hexdigest()


def test_mnist_is_downloaded_and_checked(tmp_path, repository, monkeypatch):
    folder = repository / "mnist"
    folder.mkdir(parents=True)
    digits(folder)
    with pytest.raises(MXNetError, match="SHA-1"):  # not the real digits
        vision.MNIST(tmp_path / "root", train=False)
    assert list((tmp_path / "root").iterdir()) == []
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
    files = {False: tuple((name, sha1((folder / name).read_bytes())) for name in names)}
    monkeypatch.setattr(vision.MNIST, "_files", files)
    assert len(vision.MNIST(tmp_path / "root", train=False)) == 5
    assert sorted(p.name for p in (tmp_path / "root").iterdir()) == sorted(names)
    with pytest.raises(MXNetError, match="by hand"):
        vision.FashionMNIST(tmp_path / "other")


# ---------------------------------------------------------------- CIFAR
@pytest.mark.parametrize("folder", ["", "cifar-10-batches-bin"])
def test_cifar10(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    made = [records(3) for _ in range(6)]
    for i, name in enumerate([*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]):
        made[i].tofile(tmp_path / folder / name)
    train, test = vision.CIFAR10(tmp_path), vision.CIFAR10(tmp_path, train=False)
    assert (len(train), len(test)) == (15, 3)
    data, label = train[4]
    assert data.shape == (32, 32, 3) and data.dtype == np.uint8 and type(label) is np.int32
    assert label == made[1][1, 0]
    assert (data.asnumpy() == made[1][1, 1:].reshape(3, 32, 32).transpose(1, 2, 0)).all()
    assert (test[2][0].asnumpy()[..., 1].ravel() == made[5][2, 1 + 1024:1 + 2048]).all()


def test_cifar10_with_some_files_warns_of_the_others(tmp_path):
    for k in (1, 3):
        records(2).tofile(tmp_path / f"data_batch_{k}.bin")
    with pytest.warns(UserWarning, match=r"data_batch_2.bin, data_batch_4.bin, data_batch_5.bin not found.*2 of 5"):
        assert len(vision.CIFAR10(tmp_path)) == 4


def test_cifar10_truncated(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes(3000))
    with pytest.raises(FileFormatError, match="3000 bytes: not a whole number of records"):
        vision.CIFAR10(tmp_path, train=False)
    (tmp_path / "test_batch.bin").write_bytes(b"")
    with pytest.raises(FileFormatError, match="0 bytes"):
        vision.CIFAR10(tmp_path, train=False)


def test_cifar100(tmp_path):
    made = records(4, label_bytes=2)
    made[:, 0], made[:, 1] = [1, 2, 3, 4], [11, 12, 13, 14]
    made.tofile(tmp_path / "train.bin")
    assert [label for _, label in vision.CIFAR100(tmp_path)] == [1, 2, 3, 4]
    assert [label for _, label in vision.CIFAR100(tmp_path, fine_label=True)] == [11, 12, 13, 14]


def test_cifar10_is_downloaded_unpacked_and_checked(tmp_path, repository, monkeypatch):
    folder = repository / "cifar10"
    folder.mkdir(parents=True)
    content = {f"data_batch_{k}.bin": records(2).tobytes() for k in range(1, 6)}
    content["test_batch.bin"] = records(1).tobytes()

    def pack(names):
        with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
            for name, data in names.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))

    hashes = {name: sha1(data) for name, data in content.items()}
    monkeypatch.setattr(vision.CIFAR10, "_files", {
        True: tuple((n, h) for n, h in hashes.items() if n != "test_batch.bin"),
        False: (("test_batch.bin", hashes["test_batch.bin"]),)})
    pack({f"cifar-10-batches-bin/{n}": d for n, d in content.items()} | {"../evil.bin": b"x", "readme.html": b"y"})
    assert len(vision.CIFAR10(tmp_path / "root")) == 10
    assert len(vision.CIFAR10(tmp_path / "root", train=False)) == 1
    assert {p.name for p in (tmp_path / "root").iterdir()} == {*content, "cifar-10-binary.tar.gz"}
    assert not (tmp_path / "evil.bin").exists()
    pack({"test_batch.bin": b"wrong"})
    with pytest.raises(MXNetError, match=r"test_batch.bin in .* is damaged"):
        vision.CIFAR10(tmp_path / "new", train=False)
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"cifar-10-binary.tar.gz"}


# ---------------------------------------------------------------- folders of pictures
def test_image_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    made = {}
    for name in ("dog", "cat"):
        (tmp_path / name / "sub").mkdir(parents=True)
        for i in range(2):
            made[f"{name}/{i}.png"] = rng.integers(0, 256, (6, 8, 3), np.uint8)
            image.fromarray(made[f"{name}/{i}.png"]).save(tmp_path / name / f"{i}.png")
    image.fromarray(np.full((4, 5), 77, np.uint8)).save(tmp_path / "cat" / "grey.PNG")
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "top.png").write_text("no folder")
    with pytest.warns(UserWarning) as caught:
        ds = vision.ImageFolderDataset(str(tmp_path))
    assert len(caught) == 4
    assert "top.png, which is not a directory" in "".join(str(w.message) for w in caught)
    assert ds.synsets == ["cat", "dog"]
    assert ds.items == [(str(tmp_path / n), label) for n, label in (
        ("cat/0.png", 0), ("cat/1.png", 0), ("cat/grey.PNG", 0), ("dog/0.png", 1), ("dog/1.png", 1))]
    data, label = ds[3]
    assert data.dtype == np.uint8 and type(label) is int and label == 1
    assert (data.asnumpy() == made["dog/0.png"]).all()
    assert ds[2][0].shape == (4, 5, 3) and (ds[2][0].asnumpy() == 77).all()
    with pytest.warns(UserWarning):
        grey = vision.ImageFolderDataset(tmp_path, flag=0, transform=lambda d, label: (d.shape, label))
    assert grey[0] == ((6, 8, 1), 0)
    (tmp_path / "dog" / "1.png").write_bytes(b"broken")
    with pytest.raises(FileFormatError, match=r"1.png: cannot read this picture"):
        ds[4]
    with pytest.raises(FileNotFoundError):
        vision.ImageFolderDataset(tmp_path / "none")


def test_pictures_are_turned_upright(tmp_path):
    image = pytest.importorskip("PIL.Image")
    from mxcore.files.image import read_image

    exif = image.Exif()
    exif[274] = 6  # to be turned by 90 degrees
    image.fromarray(np.zeros((2, 5, 3), np.uint8)).save(tmp_path / "turned.png", exif=exif)
    assert read_image(tmp_path / "turned.png").shape == (5, 2, 3)


# ---------------------------------------------------------------- the real ones
@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="the MNIST files are not here")
def test_real_mnist():
    test = vision.MNIST(DATA / "mnist", train=False)
    assert len(test) == 10000 and test[0][1] == 7
    assert [int(label) for label in test[:10][1]] == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert abs(test[:][0].asnumpy().mean() / 255 - 0.1325) < 1e-4


@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="the CIFAR-10 files are not here")
def test_real_cifar10():
    with pytest.warns(UserWarning, match="data_batch_2.bin"):
        train = vision.CIFAR10(DATA / "cifar10")
    assert len(train) == 10000 and train[0][1] == 6  # a frog
    assert train[0][0].asnumpy()[0, 0].tolist() == [59, 62, 63]
