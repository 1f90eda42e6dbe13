"""Programs of a tutorial on MXNet, as its readers have them, with ``mxcore`` for ``mxnet``.

The tutorial's own text is not part of the project; the test reads it where it is at hand. Three things are added that its
programs leave to the reader: the data loader of section 3, ``initialize()``, and less data.
"""

import re
from pathlib import Path

import numpy as np
import pytest

import mxcore as mx

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ARTICLES = sorted(SHARED.glob("articles/000_*.txt"))
pytestmark = pytest.mark.skipif(not ARTICLES, reason="the tutorial is not at hand")


def programs() -> list[str]:
    """The Python programs of the tutorial, in order."""
    found = re.findall(r"```python\n(.*?)```", ARTICLES[0].read_text(encoding="utf-8"), re.DOTALL)
    return [code.replace("mxnet", "mxcore") for code in found]


def test_automatic_differentiation(capsys):
    code, = (p for p in programs() if "x.attach_grad()" in p)
    exec(code, {})
    assert "[2. 4. 6.]" in capsys.readouterr().out


def test_model_and_training():
    """Section 3: a perceptron in ten epochs."""
    mx.random.seed(1)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, 640)
    x = (rng.normal(size=(10, 20))[y] + 0.5 * rng.normal(size=(640, 20))).astype("f4")
    code, = (p for p in programs() if "data.DataLoader(...)" in p)
    dataset = mx.gluon.data.ArrayDataset(x, y.astype("f4"))
    code = code.replace("data.DataLoader(...)", "data.DataLoader(dataset, batch_size=32, shuffle=True)")
    code = code.replace("# 损失函数", "model.initialize(mx.init.Xavier())\n# 损失函数")
    scope = {"dataset": dataset}
    exec(code, scope)
    metric = mx.metric.Accuracy()
    metric.update([mx.nd.array(y)], [scope["model"](mx.nd.array(x))])
    assert metric.get()[1] > 0.9


@pytest.mark.skipif(not (SHARED / "data/cifar10").exists(), reason="CIFAR-10 is not at hand")
def test_cifar10():
    """Section 4: a convolutional network on pictures, trained, then evaluated."""
    mx.random.seed(3)
    np.random.seed(3)
    loading, model, training, evaluation = (p for p in programs() if any(
        key in p for key in ("CIFAR10(train", "nn.Conv2D(128", "train_loader", "evaluate_accuracy")))
    scope: dict = {"mx": mx}
    loading = loading.replace("CIFAR10(train", f"CIFAR10({str(SHARED / 'data/cifar10')!r}, train")
    with pytest.warns(UserWarning, match="using the 1 of 5 files"):
        exec(loading, scope)
    scope["train_data"], scope["test_data"] = scope["train_data"].take(1280), scope["test_data"].take(200)
    exec(model, scope)
    scope["model"].initialize(mx.init.Xavier())
    losses = []
    training = training.replace("range(10)", "range(3)").replace("'learning_rate': 0.01", "'learning_rate': 0.05")
    scope["note"] = losses.append
    exec(training.replace("        l.backward()", "        note(l.mean().asscalar())\n        l.backward()"), scope)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    exec(evaluation.replace("print(", "shown = ("), scope)
    assert 0.15 < scope["test_acc"] <= 1
