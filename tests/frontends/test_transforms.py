"""Transforms of pictures. Literal figures were recorded from MXNet 1.9.1."""

import json
import random

import numpy as np
import pytest

import mxcore as mx
from mxcore import autograd
from mxcore.errors import MXNetError
from mxcore.gluon import data as D
from mxcore.gluon import nn
from mxcore.gluon.data.vision import transforms as T

RGB = (np.arange(36) * 53 % 256).reshape(3, 4, 3)
BIG = (np.arange(20 * 30 * 3) % 251).reshape(20, 30, 3)


def picture(values, dtype="uint8"):
    return mx.nd.array(values, dtype=dtype)


@pytest.fixture
def seeded():
    """Seeds for all generators; the old states come back afterwards."""
    states = random.getstate(), np.random.get_state()

    def seed(value):
        random.seed(value)
        np.random.seed(value)
        mx.random.seed(value)

    seed(0)
    yield seed
    random.setstate(states[0])
    np.random.set_state(states[1])


# ---------------------------------------------------------------- resize
SMALL = (np.arange(24) * 37 % 256).reshape(4, 6, 1)
#: (width, height) -> for each interpolation the rows of the resized SMALL
RESIZED = {
    (4, 3): [
        "0 37 111 148 / 222 3 77 114 / 188 225 43 80",
        "35 59 114 170 / 182 46 69 125 / 169 192 24 79",
        "30 56 118 174 / 207 15 74 127 / 168 217 1 80",
        "46 53 115 164 / 175 53 72 122 / 175 182 30 79",
        "27 60 114 175 / 218 5 76 126 / 160 224 0 86"],
    (3, 2): [
        "0 74 148 / 188 6 80",
        "66 76 150 / 190 72 82",
        "51 81 156 / 209 54 82",
        "66 76 150 / 190 72 82",
        "44 96 156 / 206 48 86"],
    (8, 5): [
        ("0 0 37 74 111 111 148 185 / 0 0 37 74 111 111 148 185 / 222 222 3 40 77 77 114 151"
        " / 188 188 225 6 43 43 80 117 / 154 154 191 228 9 9 46 83"),
        ("0 23 51 79 106 134 162 185 / 155 66 27 55 82 110 138 161 / 205 148 80 28 55 83 111 134"
        " / 178 201 161 67 38 56 83 107 / 154 177 205 201 36 32 60 83"),
        ("0 16 56 82 107 135 167 190 / 176 44 0 61 84 112 145 167 / 237 168 56 0 50 84 114 137"
        " / 170 236 186 48 29 47 84 106 / 149 170 227 220 29 11 61 84"),
        ("0 25 49 74 111 136 160 185 / 167 63 24 49 86 110 135 160 / 205 144 83 23 60 85 109 134"
        " / 180 204 165 62 35 59 84 109 / 154 179 203 228 9 34 58 83"),
        ("0 21 59 77 107 135 166 189 / 179 39 0 75 89 106 144 165 / 240 175 50 0 50 89 110 136"
        " / 155 237 194 45 26 55 85 107 / 156 155 232 221 30 2 74 81")],
}


@pytest.mark.parametrize("interpolation", range(5))
@pytest.mark.parametrize("size", RESIZED)
def test_resize_as_opencv_does_it(size, interpolation):
    expected = np.array([row.split() for row in RESIZED[size][interpolation].split("/")], int)
    out = T.Resize(size, interpolation=interpolation)(picture(SMALL))
    assert out.dtype == np.uint8 and (out.asnumpy()[..., 0] == expected).all()
    floats = T.Resize(size, interpolation=interpolation)(picture(SMALL, "float32")).asnumpy()[..., 0]
    assert np.abs(floats.clip(0, 255) - expected).max() <= 0.8  # fixed point, then rounding
    three = T.Resize(size, interpolation=interpolation)(picture(np.repeat(SMALL, 3, 2))).asnumpy()
    assert (three == expected[..., None]).all()
    batch = T.Resize(size, interpolation=interpolation)(picture([SMALL, 255 - SMALL])).asnumpy()
    assert (batch[0, ..., 0] == expected).all()


def test_sizes_of_resize():
    image, batch = mx.nd.zeros((9, 12, 3), dtype="uint8"), mx.nd.zeros((2, 9, 12, 3), dtype="uint8")
    for size, keep, shape in ((5, False, (5, 5)), ((5, 7), False, (7, 5)), (5, True, (5, 6)), ((5, 7), True, (7, 5)),
                              (20, True, (20, 26)), ([5, 7], False, (7, 5)), (9, True, (9, 12))):
        assert T.Resize(size, keep_ratio=keep)(image).shape == (*shape, 3)
        assert T.Resize(size, keep_ratio=keep)(batch).shape == (2, *shape, 3)
    assert (T.Resize((6, 4))(picture(SMALL)).asnumpy() == SMALL).all()
    for size, message in ((0, "greater than 0"), ((3, 3, 3), "must be 1 or 2")):
        with pytest.raises(MXNetError, match=message):
            T.Resize(size)(image)
    with pytest.raises(MXNetError, match="interp=9"):
        T.Resize(3, interpolation=9)(image)
    with pytest.raises(MXNetError, match="picture must have shape"):
        T.Resize(3)(mx.nd.zeros((4, 4), dtype="uint8"))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int8"])
def test_resize_keeps_the_type(dtype):
    out = T.Resize((3, 2))(picture(SMALL // 2, dtype))
    assert out.dtype == np.dtype(dtype).type
    expected = T.Resize((3, 2))(picture(SMALL // 2, "float32")).asnumpy()
    assert np.abs(out.asnumpy().astype("f8") - expected).max() <= 0.51


# ---------------------------------------------------------------- crops
def test_center_crop():
    image = picture(BIG)
    for size, total in ((5, 7500), ((6, 4), 6030), ((40, 8), 122486), ((25, 30), 283724)):
        out = T.CenterCrop(size)(image)
        assert out.shape == ((size, size, 3) if isinstance(size, int) else (size[1], size[0], 3))
        assert out.asnumpy().sum() == total
    places = picture(np.arange(9 * 12).reshape(9, 12, 1))
    for size, place in (((6, 4), (2, 3)), (5, (2, 3)), ((12, 9), (0, 0)), (1, (4, 5)), ((11, 8), (0, 0))):
        assert divmod(int(T.CenterCrop(size)(places)[0, 0, 0].asscalar()), 12) == place


def test_random_resized_crop_draws_as_mxnet_does(seeded):
    random.seed(7)
    crop = T.RandomResizedCrop((5, 4))
    assert [int(crop(picture(BIG)).asnumpy().sum()) for _ in range(8)] == [
        7064, 7814, 9240, 7923, 7353, 7308, 8496, 7817]
    assert T.RandomResizedCrop(6, scale=0.5)(picture(BIG)).shape == (6, 6, 3)
    assert T.RandomResizedCrop(6, scale=(2, 3))(picture(BIG)).shape == (6, 6, 3)  # never fits: the middle
    whole = T.RandomResizedCrop((30, 20), scale=(1, 1), ratio=(1.5, 1.5))(picture(BIG))
    assert (whole.asnumpy() == BIG).all()


@pytest.mark.parametrize(("padding", "border"), [
    (None, (0, 0, 0, 0)), (2, (2, 2, 2, 2)), ((1, 3), (1, 3, 1, 3)), ((1, 2, 3, 0), (1, 2, 3, 0))])
def test_random_crop_takes_every_place(seeded, padding, border):
    values = np.arange(1, 31).reshape(5, 6, 1)
    left, top, right, bottom = border
    padded = np.pad(values, ((top, bottom), (left, right), (0, 0)), constant_values=99)
    pieces = {padded[i:i + 4, j:j + 5].tobytes()
              for i in range(padded.shape[0] - 3) for j in range(padded.shape[1] - 4)}
    crop = T.RandomCrop((5, 4), padding, fill=99)
    seen = {crop(picture(values, "int64")).asnumpy().tobytes() for _ in range(60 * len(pieces))}
    assert seen == pieces


def test_random_crop_of_pictures_that_are_too_small():
    assert T.RandomCrop((8, 6))(picture(SMALL)).shape == (6, 8, 1)
    assert T.RandomCrop(8, pad=1)(picture(SMALL)).shape == (8, 8, 1)
    assert T.RandomCrop(2, padding=6)(picture(SMALL, "float32")).dtype == np.float32


def test_crop_resize():
    image = picture(BIG)
    assert (T.CropResize(3, 2, 5, 4)(image).asnumpy() == BIG[2:6, 3:8]).all()
    assert T.CropResize(3, 2, 5, 4, size=7)(image).shape == (7, 7, 3)
    assert T.CropResize(3, 2, 5, 4, (7, 8), 0)(picture([BIG, BIG])).shape == (2, 8, 7, 3)
    for piece in ((28, 0, 3, 3), (0, 18, 3, 3), (-1, 0, 3, 3), (0, 0, 0, 3)):
        with pytest.raises(MXNetError, match="piece"):
            T.CropResize(*piece)(image)


# ---------------------------------------------------------------- tensors
def test_to_tensor_and_normalize():
    tensor = T.ToTensor()(picture(RGB))
    assert tensor.shape == (3, 3, 4) and tensor.dtype == np.float32
    assert np.allclose(tensor.asnumpy(), RGB.transpose(2, 0, 1) / 255)
    assert T.ToTensor()(picture([RGB, RGB], "float64")).shape == (2, 3, 3, 4)
    mean, std = (0.1, 0.2, 0.3), [0.4, 0.5, 0.6]
    expected = (RGB / 255 - mean) / std
    assert np.allclose(T.Normalize(mean, std)(tensor).asnumpy(), expected.transpose(2, 0, 1), atol=1e-6)
    assert np.allclose(T.Normalize(0.5, 0.25)(tensor).asnumpy(), tensor.asnumpy() * 4 - 2, atol=1e-6)
    assert T.Normalize(np.array(mean), std)(tensor.astype("float64")).dtype == np.float64
    assert T.Normalize(1, 1)(tensor.astype("float16").expand_dims(0)).shape == (1, 3, 3, 4)
    for transform, x, message in ((T.Normalize((0.1, 0.2), 1), tensor, "Invalid mean.*1 or 3 elements"),
                                  (T.Normalize(0, (1, 2)), tensor, "Invalid std"),
                                  (T.Normalize(), picture(BIG), "channel dimension with either 1 or 3"),
                                  (T.ToTensor(), tensor[0], "picture must have shape")):
        with pytest.raises(MXNetError, match=message):
            transform(x)


def test_cast():
    assert T.Cast()(picture(RGB)).dtype == np.float32
    assert T.Cast("float16")(picture(RGB)).dtype == np.float16


# ---------------------------------------------------------------- flips, colours
@pytest.mark.parametrize(("flip", "turned"), [
    (T.RandomFlipLeftRight, RGB[:, ::-1]), (T.RandomFlipTopBottom, RGB[::-1])])
def test_flips_are_fair(seeded, flip, turned):
    outs = [flip()(picture(RGB)).asnumpy() for _ in range(200)]
    flipped = [(out == turned).all() for out in outs]
    assert all(f or (out == RGB).all() for f, out in zip(flipped, outs, strict=True))
    assert 60 < sum(flipped) < 140


RECOLOURED = {
    ("brightness", 1.3): "0 68 137 206 255 11 80 149 218 255 23 92 161 230 255 35 104 172 241 255 46 115 184 253"
    " 255 58 127 196 255 1 70 139 208 255 13 81",
    ("contrast", 0.6): "47 79 111 142 174 52 84 116 148 180 58 90 121 153 185 63 95 127 159 190 69 100 132 164"
    " 196 74 106 138 169 48 79 111 143 175 53 85",
    ("saturation", 1.7): "0 81 171 255 255 14 91 182 255 255 24 115 192 255 255 35 125 215 255 255 58 135 225 255"
    " 255 68 158 255 255 1 79 169 255 255 11 102",
    ("hue", 0.2): "74 0 106 8 212 102 136 61 168 221 208 17 198 123 230 101 26 133 36 238 129 163 88 195 247"
    " 235 45 0 204 94 128 53 160 213 200 9",
}


@pytest.mark.parametrize(("name", "factor"), RECOLOURED)
def test_colours_as_mxnet_changes_them(name, factor):
    out = getattr(mx.nd.image, f"random_{name}")(picture(RGB), factor, factor)
    expected = [int(v) for v in RECOLOURED[name, factor].split()]
    assert out.dtype == np.uint8 and out.asnumpy().ravel().tolist() == expected
    floats = getattr(mx.nd.image, f"random_{name}")(picture(RGB, "float32"), factor, factor)
    assert np.abs(floats.asnumpy().clip(0, 255).ravel() - expected).max() <= 1
    with pytest.raises(MXNetError, match="negative"):
        getattr(mx.nd.image, f"random_{name}")(picture(RGB), -0.5, factor)
    with pytest.raises(MXNetError, match="1 or 3 elements"):
        getattr(mx.nd.image, f"random_{name}")(mx.nd.ones((2, 2, 5)), factor, factor)


def test_lighting():
    out = mx.nd.image.adjust_lighting(picture(RGB), alpha=(0.5, -0.2, 0.3)).asnumpy().ravel().tolist()
    assert out == [0, 36, 90, 142, 195, 0, 45, 98, 152, 204, 1, 55, 107, 160, 214, 10, 63, 117, 169, 222, 20, 72, 125,
                   179, 231, 28, 82, 134, 187, 0, 37, 90, 144, 196, 0, 47]
    assert (T.RandomLighting(0.0)(picture(RGB)).asnumpy() == RGB).all()
    noise = np.array([T.RandomLighting(0.1)(mx.nd.zeros((1, 1, 3))).asnumpy().ravel() for _ in range(1500)])
    assert np.allclose(noise.std(0), [3.166, 3.23, 3.26], rtol=0.12) and np.abs(noise.mean(0)).max() < 0.4


def test_ranges_of_random_factors(seeded):
    ones = mx.nd.ones((1, 1, 3))
    for block, low, high in ((T.RandomBrightness(0.5), 0.5, 1.5), (T.RandomBrightness(2), 0.0, 3.0),
                             (T.RandomColorJitter(0.5, 0, 0, 0), 0.5, 1.5)):
        values = [float(block(ones)[0, 0, 0].asscalar()) for _ in range(400)]
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert (T.RandomColorJitter()(picture(RGB)).asnumpy() == RGB).all()
    assert T.RandomColorJitter(0.1, 0.2, 0.3, 0.4)(picture(RGB)).dtype == np.uint8
    hues = np.array([T.RandomHue(0.1)(picture([[[200, 100, 50]]], "float32")).asnumpy().ravel() for _ in range(300)])
    assert np.allclose(hues.min(0), [200, 50, 50], atol=3) and np.allclose(hues.max(0), [200, 190, 90], atol=3)


def test_random_transforms_repeat_with_the_seed(seeded):
    chain = T.Compose([T.RandomCrop(16, padding=2), T.RandomFlipLeftRight(), T.RandomColorJitter(0.3, 0.3, 0.3, 0.3),
                       T.RandomLighting(0.1)])
    seeded(4)
    first = [chain(picture(BIG)).asnumpy() for _ in range(4)]
    seeded(4)
    assert all((chain(picture(BIG)).asnumpy() == out).all() for out in first)
    assert not (first[0] == first[1]).all()


# ---------------------------------------------------------------- rotation
def test_rotation_as_mxnet_does_it(seeded):
    x = mx.nd.arange(12).reshape((1, 3, 4))
    assert np.allclose(T.Rotate(30)(x).asnumpy(), [[
        [0.269, 1.385, 3.969, 4.581], [1.201, 4.067, 6.933, 9.799], [3.129, 7.031, 8.339, 3.955]]], atol=6e-4)
    assert np.allclose(T.Rotate(-50, zoom_in=True)(x).asnumpy(), [[
        [5.677, 4.222, 2.767, 1.495], [7.683, 6.228, 4.772, 3.317], [8.661, 8.233, 6.778, 5.323]]], atol=6e-4)
    assert np.allclose(T.Rotate(110, zoom_out=True)(x).asnumpy(), [[
        [0.163, 4.505, 7.563, 0.0], [0.0, 2.775, 8.225, 0.0], [0.0, 0.193, 3.508, 0.435]]], atol=6e-4)
    np.random.seed(5)
    turn = T.RandomRotation((-40, 60), rotate_with_proba=0.6)
    totals = [float(turn(mx.nd.arange(20).reshape((1, 4, 5))).sum().asscalar()) for _ in range(5)]
    assert np.allclose(totals, [151.899, 151.829, 164.665, 190.0, 175.133], atol=1e-3)


def test_rotation_by_right_angles():
    x = np.random.default_rng(0).random((2, 3, 5, 5), np.float32)
    for turns in range(-2, 5):
        out = T.Rotate(90 * turns)(mx.nd.array(x)).asnumpy()
        assert np.allclose(out, np.rot90(x, turns, (2, 3)), atol=1e-5)


def test_errors_of_rotation():
    tensor = mx.nd.zeros((1, 3, 3))
    with pytest.raises(TypeError, match="only supports float32"):
        T.Rotate(30)(picture(RGB))
    with pytest.raises(ValueError, match="cannot be both True"):
        T.Rotate(30, True, True)(tensor)
    with pytest.raises(ValueError, match="ordered tuple"):
        T.RandomRotation((10, -10))
    with pytest.raises(ValueError, match="between 0 and 1"):
        T.RandomRotation((-10, 10), rotate_with_proba=2)
    assert T.RandomRotation((1, 2), rotate_with_proba=0)(tensor) is tensor


# ---------------------------------------------------------------- chains
def test_compose_compiles_neighbours():
    chain = T.Compose([T.ToTensor(), T.Normalize(0.5, 0.5)])
    assert [type(c) for c in chain] == [nn.HybridSequential] and len(chain[0]) == 2
    mixed = T.Compose([T.Resize(8), T.CenterCrop(6), T.Cast(), T.ToTensor(), lambda x: x * 2])
    assert [type(c).__name__ for c in mixed] == ["Resize", "CenterCrop", "HybridSequential", "_Function"]
    expected = T.ToTensor()(T.CenterCrop(6)(T.Resize(8)(picture(BIG)))) * 2
    for values in (BIG, BIG[:, :20]):  # another shape must do as well
        expected = T.ToTensor()(T.CenterCrop(6)(T.Resize(8)(picture(values)))) * 2
        for _ in range(2):
            assert np.allclose(mixed(picture(values)).asnumpy(), expected.asnumpy())
    assert (T.Compose([])(picture(RGB)).asnumpy() == RGB).all()


def test_compiled_random_transforms_stay_random(seeded):
    chain = T.Compose([T.RandomFlipLeftRight(), T.RandomBrightness(0.5), T.ToTensor()])
    assert len({chain(picture(RGB)).asnumpy().tobytes() for _ in range(20)}) > 15


def test_random_apply(seeded):
    image = picture(RGB)
    assert T.RandomApply(T.Cast(), p=0)(image) is image
    assert T.RandomApply(T.Cast(), p=1)(image).dtype == np.float32
    assert T.RandomApply([T.Cast(), T.ToTensor()], p=1)(image).shape == (3, 3, 4)
    sometimes = T.RandomApply(T.Cast(), p=0.3)
    assert 30 < sum(sometimes(image).dtype == np.float32 for _ in range(200)) < 90


def test_symbols_of_transforms():
    node = json.loads(T.Normalize([0.1, 0.2, 0.3], 0.5)(mx.sym.var("x")).tojson())["nodes"][1]
    assert node["op"] == "_image_normalize" and node["attrs"] == {"mean": "(0.1, 0.2, 0.3)", "std": "0.5"}
    node = json.loads(T.Resize((5, 6))(mx.sym.var("x")).tojson())["nodes"][1]
    assert node["op"] == "_image_resize" and node["attrs"] == {"interp": "1", "keep_ratio": "False", "size": "(5, 6)"}
    out = T.Compose([T.Resize(6, keep_ratio=True), T.ToTensor(), T.Normalize(0, 1)])(mx.sym.var("x"))
    assert out.infer_shape(x=(9, 12, 3))[1] == [(3, 6, 8)]
    assert out.infer_shape(x=(2, 9, 12, 3))[1] == [(2, 3, 6, 8)]


def test_gradients_of_what_has_one():
    x = mx.nd.array(np.random.default_rng(1).random((4, 5, 3)))
    x.attach_grad()
    with autograd.record():
        y = T.ToTensor()(mx.nd.image.flip_left_right(mx.nd.image.crop(x, x=1, y=2, width=3, height=2)))
        z = (T.Normalize((0, 1, 2), (1, 2, 4))(y) * mx.nd.arange(18).reshape((3, 2, 3))).sum()
    z.backward()
    expected = np.zeros((4, 5, 3))
    weights = np.arange(18).reshape(3, 2, 3) / np.array([1, 2, 4])[:, None, None] / 255
    expected[2:4, 1:4] = weights.transpose(1, 2, 0)[:, ::-1]
    assert np.allclose(x.grad.asnumpy(), expected, atol=1e-6)


def test_transforms_in_worker_processes(seeded):
    images = np.random.default_rng(2).integers(0, 256, (12, 40, 40, 3), np.uint8)
    ds = D.ArrayDataset(mx.nd.array(images, dtype="uint8"), np.arange(12))
    chain = T.Compose([T.RandomCrop(32), T.RandomFlipLeftRight(), T.ToTensor(), T.Normalize(0.5, 0.25)])

    def epoch():
        seeded(3)
        loader = D.DataLoader(ds.transform_first(chain), 4, num_workers=2)
        return [(data.asnumpy(), label.asnumpy().tolist()) for data, label in loader]

    first = epoch()
    assert [label for _, label in first] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert all(data.shape == (4, 3, 32, 32) and data.dtype == np.float32 for data, _ in first)
    assert all((a == b).all() for (a, _), (b, _) in zip(first, epoch(), strict=True))
