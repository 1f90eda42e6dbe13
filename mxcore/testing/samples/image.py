"""Samples of :mod:`mxcore.ops.image`."""

import numpy as np

from ..sampling import A, C, I, sample

RGB, GREY, BATCH = A(4, 5, 3, low=0, high=200), A(4, 5, 1, low=0, high=200), A(2, 4, 5, 3, low=0, high=200)
BYTES = I(4, 6, 3, high=256, dtype="uint8")


def first(x):
    """Channels before height and width."""
    return np.moveaxis(x, -1, -3)


def normalized(x, mean, std):
    """For each channel."""
    return (x - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))


def cropped(data, x, y, width, height):
    """A piece."""
    return data[..., y:y + height, x:x + width, :]


# float32 comes out whatever goes in: gradients are tested in tests/frontends/test_transforms.py
sample("_image_to_tensor", RGB, ref=lambda x: first(x) / 255, order=0, rtol=1e-6, atol=1e-7)
sample("_image_to_tensor", BATCH, ref=lambda x: first(x) / 255, order=0, rtol=1e-6, atol=1e-7)
sample("_image_to_tensor", BYTES, ref=lambda x: first(x) / 255, order=0, rtol=1e-6, atol=1e-7)
sample("_image_normalize", A(3, 2, 4), mean=(0.1, 0.2, 0.3), std=(1, 2, 0.5), ref=normalized)
sample("_image_normalize", A(2, 1, 2, 4), mean=(0.5,), std=(0.25,), ref=normalized)

for shape in (RGB, BATCH):
    sample("_image_crop", shape, x=1, y=2, width=3, height=2, ref=cropped)
sample("_image_window", RGB, x=-1, y=2, width=4, height=3, fill=7,
       ref=lambda data, **a: np.pad(data, ((0, 1), (1, 0), (0, 0)), constant_values=7)[2:, :4])
sample("_image_window", RGB, x=1, y=0, width=2, height=2, ref=lambda data, **a: data[:2, 1:3])
sample("_image_window", GREY, x=9, y=0, width=2, height=2, fill=1, ref=lambda data, **a: np.ones((2, 2, 1)))

sample("_image_resize", A(4, 6, 3), size=(3, 2), ref=lambda x, size: x.reshape(2, 2, 3, 2, 3).mean((1, 3)))
sample("_image_resize", A(2, 3, 3, 1), size=(9, 9), interp=0, ref=lambda x, size, interp: x.repeat(3, 1).repeat(3, 2))
sample("_image_resize", C(np.arange(4.0).reshape(1, 4, 1)), size=(8, 1), single=1e-3,
       ref=lambda x, size: np.array([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]).reshape(1, 8, 1))
sample("_image_resize", C(np.full((6, 8, 2), 3.0)), size=3, keep_ratio=True, interp=4,
       ref=lambda x, **a: np.full((3, 4, 2), 3.0))
sample("_image_resize", C(np.full((6, 8, 2), 3.0)), size=(5, 9), keep_ratio=False, interp=2,
       ref=lambda x, **a: np.full((9, 5, 2), 3.0))
sample("_image_resize", C(np.full((2, 6, 8, 2), 200), dtype="uint8"), size=(5, 4), interp=3,
       ref=lambda x, **a: np.full((2, 4, 5, 2), 200))
sample("_cvimresize", A(4, 6, 3), w=3, h=2, ref=lambda x, w, h: x.reshape(2, 2, 3, 2, 3).mean((1, 3)))
sample("_cvimresize", BYTES, w=12, h=4, interp=0, ref=lambda x, w, h, interp: x.repeat(2, 1))

for kind, mode in enumerate(("constant", "edge", "symmetric", "wrap", "reflect")):
    sample("_cvcopyMakeBorder", RGB, top=1, bot=2, left=0, right=3, attrs={"type": kind},
           ref=lambda x, mode=mode, **a: np.pad(x, ((1, 2), (0, 3), (0, 0)), mode))
sample("_cvcopyMakeBorder", A(1, 2, 2), top=0, bot=0, left=1, right=0, values=(3, 4),
       ref=lambda x, **a: np.concatenate([[[[3, 4]]], x], 1))

sample("_image_flip_left_right", RGB, ref=lambda x: x[:, ::-1])
sample("_image_flip_top_bottom", GREY, ref=lambda x: x[::-1])
sample("_image_random_flip_left_right", RGB,
       judge=lambda outs, x: any((outs[0] == y).all() for y in (x, x[:, ::-1])) or 1 / 0)
sample("_image_random_flip_top_bottom", RGB,
       judge=lambda outs, x: any((outs[0] == y).all() for y in (x, x[::-1])) or 1 / 0)


def contrast(x, low, high):
    """Away from the mean grey."""
    return x * low + (1 - low) * (x @ [0.299, 0.587, 0.114]).mean()


sample("_image_random_brightness", RGB, min_factor=1.5, max_factor=1.5, ref=lambda x, min_factor, max_factor: x * 1.5)
sample("_image_random_brightness", BYTES, min_factor=1.5, max_factor=1.5,
       ref=lambda x, min_factor, max_factor: np.minimum(np.floor(x * 1.5), 255))
sample("_image_random_contrast", RGB, min_factor=0.5, max_factor=0.5, single=1e-3, half=0.2,
       ref=lambda x, min_factor, max_factor: contrast(x, min_factor, max_factor))
sample("_image_random_contrast", GREY, min_factor=0, max_factor=0, single=1e-3,
       ref=lambda x, min_factor, max_factor: np.full_like(x, x.mean()))
sample("_image_random_saturation", RGB, min_factor=0.5, max_factor=0.5,
       ref=lambda x, min_factor, max_factor: x * 0.5 + x[..., 2:] * 0.057, rtol=1e-6)
sample("_image_random_saturation", GREY, min_factor=0.5, max_factor=0.5, ref=lambda x, min_factor, max_factor: x)
sample("_image_random_hue", C([[[255.0, 0, 0], [90, 90, 90]]]), min_factor=1 / 3, max_factor=1 / 3, atol=1e-3,
       ref=lambda x, min_factor, max_factor: np.array([[[0, 255.0, 0], [90, 90, 90]]]), single=0, half=0)
sample("_image_random_hue", GREY, min_factor=0.5, max_factor=0.5, ref=lambda x, min_factor, max_factor: x)
sample("_image_random_color_jitter", RGB, brightness=0, contrast=0, saturation=0, hue=0, ref=lambda x, **a: x)
sample("_image_random_color_jitter", C(np.full((2, 2, 3), 100.0)), brightness=0.5, contrast=0.1, saturation=0.1, hue=0.1,
       judge=lambda outs, x, **a: np.ptp(outs[0]) < 60 or 1 / 0)

AXES = np.array([[-31.47355, 3.4478448, 0.4602332], [-32.211168, -0.021573, -0.934472], [-32.366456, -3.3308712, 0.4825044]])
sample("_image_adjust_lighting", RGB, alpha=(0.1, -0.2, 0.3), ref=lambda x, alpha: x + AXES @ alpha, rtol=1e-5, single=1e-3)
sample("_image_adjust_lighting", GREY, alpha=(1, 1, 1), ref=lambda x, alpha: x)
sample("_image_random_lighting", RGB, alpha_std=0, ref=lambda x, alpha_std: x)
sample("_image_random_lighting", RGB, judge=lambda outs, x: np.ptp(np.ptp(outs[0] - x, 0), 0).max() < 1e-3 or 1 / 0)
