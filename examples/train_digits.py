#!/usr/bin/env python3
"""Train, evaluate, export and reload a convolutional network on handwritten digits.

    python examples/train_digits.py                                  # 1,797 digits that come with mxcore, seconds
    python examples/train_digits.py --data mnist --root DIR          # LeNet on MNIST, from its four IDX files

What it shows: a hybridized Gluon network trained with DataLoader and Trainer; its export to ``*-symbol.json`` and
``*-0000.params``; both files loaded again, by ``SymbolBlock.imports`` in a fresh process and by ``sym.load``,
``nd.load`` and ``bind`` in this one, with the same predictions; and a picture of how it learned and what it reads.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np
from tqdm import tqdm

import mxcore as mx
from mxcore import autograd, gluon
from mxcore.gluon import nn

HERE = os.path.dirname(os.path.abspath(__file__))
PREFIX = "digits"


def conv_block(channels):
    """Convolution, batch normalization, ReLU."""
    block = nn.HybridSequential()
    block.add(nn.Conv2D(channels, kernel_size=3, padding=1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    return block


def small_net():
    """A network for 8x8 images."""
    net = nn.HybridSequential()
    net.add(conv_block(16), conv_block(32), nn.MaxPool2D(2, 2), conv_block(64), nn.MaxPool2D(2, 2),
            nn.Flatten(), nn.Dense(64, activation="relu"), nn.Dropout(0.3), nn.Dense(10))
    return net


def lenet():
    """LeNet for 28x28 images."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(20, kernel_size=5, activation="relu"), nn.MaxPool2D(2, 2),
            nn.Conv2D(50, kernel_size=5, activation="relu"), nn.MaxPool2D(2, 2),
            nn.Flatten(), nn.Dense(500, activation="relu"), nn.Dense(10))
    return net


def load_digits(seed):
    """The digits beside this script: 1,437 to learn from and 360 held out, drawn by the seed."""
    with np.load(os.path.join(HERE, "data", "digits.npz")) as arrays:
        images = arrays["images"].astype("float32")[:, np.newaxis] / 16
        labels = arrays["labels"].astype("float32")
    order = np.random.RandomState(seed).permutation(len(labels))
    train, test = order[360:], order[:360]
    return images[train], labels[train], images[test], labels[test]


def load_mnist(root):
    """MNIST as arrays, from the IDX files (gzipped or not) in a folder."""
    def arrays(train):
        images, labels = gluon.data.vision.MNIST(root, train=train)[:]
        return images.asnumpy().transpose(0, 3, 1, 2).astype("float32") / 255, labels.astype("float32")
    return arrays(train=True) + arrays(train=False)


def context(name):
    """The device that a name such as ``cpu``, ``gpu``, ``gpu:1`` or ``opencl`` means."""
    kind, _, number = name.partition(":")
    ctx = mx.Context(kind, int(number or 0))
    try:
        mx.nd.zeros(1, ctx=ctx)  # a device that is not there is noticed at its first use
    except mx.MXNetError as error:
        sys.exit(f"--ctx {name}: {error}")
    return ctx


def predict(net, images, ctx, batch_size=256):
    """The network's outputs for all images, as one NumPy array."""
    batches = (mx.nd.array(images[i:i + batch_size], ctx=ctx) for i in range(0, len(images), batch_size))
    return np.concatenate([net(batch).asnumpy() for batch in batches])


def train(net, data, ctx, epochs, batch_size, learning_rate):
    """Train the network; returns one (loss, accuracy in training, held-out accuracy) for each epoch."""
    train_images, train_labels, test_images, test_labels = data
    loader = gluon.data.DataLoader(gluon.data.ArrayDataset(train_images, train_labels), batch_size, shuffle=True)
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    steps = epochs * len(loader)
    schedule = mx.lr_scheduler.CosineScheduler(max_update=steps, base_lr=learning_rate, final_lr=learning_rate / 100)
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": learning_rate, "lr_scheduler": schedule})
    history = []
    for epoch in range(1, epochs + 1):
        mean_loss, accuracy = mx.metric.Loss(), mx.metric.Accuracy()
        bar = tqdm(loader, desc=f"epoch {epoch:2}/{epochs}", unit="batch", leave=False, disable=None)
        for batch, target in bar:
            batch, target = batch.as_in_context(ctx), target.as_in_context(ctx)
            with autograd.record():
                output = net(batch)
                loss = loss_function(output, target)
            loss.backward()
            trainer.step(len(target))
            mean_loss.update(None, loss)
            accuracy.update(target, output)
            bar.set_postfix(loss=f"{mean_loss.get()[1]:.3f}", refresh=False)
        held_out = float(np.mean(predict(net, test_images, ctx).argmax(axis=1) == test_labels))
        history.append((mean_loss.get()[1], accuracy.get()[1], held_out))
        print(f"epoch {epoch:2}/{epochs}  loss {history[-1][0]:.4f}  accuracy {history[-1][1]:.2%}  "
              f"held out {held_out:.2%}", flush=True)
    return history


def predict_imported(prefix, ctx):
    """What the fresh process does: read the exported network and the images, write the predictions."""
    net = gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["data"], f"{prefix}-0000.params", ctx=ctx)
    np.save(f"{prefix}-predictions.npy", predict(net, np.load(f"{prefix}-images.npy"), ctx))


def reload_in_fresh_process(prefix, images, ctx_name):
    """Predictions of the exported network, made by another Python process that knows only the files."""
    np.save(f"{prefix}-images.npy", images)
    subprocess.run([sys.executable, os.path.abspath(__file__), "--predict", prefix, "--ctx", ctx_name], check=True)
    predictions = np.load(f"{prefix}-predictions.npy")
    os.remove(f"{prefix}-images.npy")
    os.remove(f"{prefix}-predictions.npy")
    return predictions


def reload_and_bind(prefix, images, ctx, batch_size=256):
    """Predictions of the exported network through the symbolic interface."""
    symbol = mx.sym.load(f"{prefix}-symbol.json")
    saved = mx.nd.load(f"{prefix}-0000.params")
    arguments = {name[4:]: value.as_in_context(ctx) for name, value in saved.items() if name.startswith("arg:")}
    states = {name[4:]: value.as_in_context(ctx) for name, value in saved.items() if name.startswith("aux:")}
    outputs = []
    for i in range(0, len(images), batch_size):
        batch = mx.nd.array(images[i:i + batch_size], ctx=ctx)
        executor = symbol.bind(ctx, dict(arguments, data=batch), grad_req="null", aux_states=states)
        outputs.append(executor.forward(is_train=False)[0].asnumpy())
    return np.concatenate(outputs)


def draw(path, history, images, labels, predicted):
    """One picture: the training curve, and test digits with what the network reads (mistakes first, in red)."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained", width_ratios=(1, 1.15))
    epochs = range(1, len(history) + 1)
    loss, accuracy, held_out = zip(*history)
    left.plot(epochs, loss, color="tab:gray", marker=".", label="training loss")
    left.set(xlabel="epoch", ylabel="loss", ylim=(0, None), title="Training")
    left.xaxis.get_major_locator().set_params(integer=True)
    twin = left.twinx()
    twin.plot(epochs, accuracy, color="tab:blue", marker=".", label="training accuracy")
    twin.plot(epochs, held_out, color="tab:green", marker=".", label=f"held-out accuracy ({held_out[-1]:.1%})")
    twin.set(ylabel="accuracy", ylim=(min(*accuracy, *held_out, 0.9), 1.002))
    lines = left.get_lines() + twin.get_lines()
    left.legend(lines, [line.get_label() for line in lines], loc="center right")

    rows, columns = 5, 8
    wrong = predicted != labels
    order = np.argsort(~wrong, kind="stable")[:rows * columns]
    for place, index in enumerate(order):  # each digit in a cell of 1.4 x 1.4, its title above it
        x, y = place % columns * 1.4, -(place // columns) * 1.4
        right.imshow(images[index, 0], cmap="gray_r", extent=(x, x + 1, y, y + 1))
        text = f"{predicted[index]:.0f}" + (f" (is {labels[index]:.0f})" if wrong[index] else "")
        right.text(x + 0.5, y + 1.05, text, ha="center", fontsize=9, color="tab:red" if wrong[index] else "black")
    right.set(xlim=(-0.1, columns * 1.4 - 0.3), ylim=(-(rows - 1) * 1.4 - 0.1, 1.4),
              title=f"Held-out digits: {wrong.sum()} of {len(labels)} misread")
    right.set_axis_off()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits", help="what to learn from")
    parser.add_argument("--root", help="folder of the four MNIST files (needed with --data mnist)")
    parser.add_argument("--ctx", default="cpu", help="device: cpu, gpu, opencl, ... or gpu:1 for the second one")
    parser.add_argument("--epochs", type=int, help="default: 10 for digits, 2 for mnist")
    parser.add_argument("--batch-size", type=int, help="default: 32 for digits, 64 for mnist")
    parser.add_argument("--out", default="demo_out", help="folder for the files that are written (default: demo_out)")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same run")
    parser.add_argument("--predict", metavar="PREFIX", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data == "mnist" and not options.root:
        parser.error("--data mnist needs --root DIR, the folder with train-images-idx3-ubyte(.gz) and the other three")
    return options


def main():
    """Everything, in order; returns the exit status."""
    options = arguments()
    ctx = context(options.ctx)
    if options.predict:
        return predict_imported(options.predict, ctx)

    begin = time.perf_counter()
    mx.random.seed(options.seed)
    np.random.seed(options.seed)  # DataLoader shuffles with it
    if options.data == "mnist":
        data, net, epochs, batch_size, wanted = load_mnist(options.root), lenet(), 2, 64, 0.985
    else:
        data, net, epochs, batch_size, wanted = load_digits(options.seed), small_net(), 10, 32, 0.97
    if options.epochs:
        epochs, wanted = options.epochs, 0  # the bar is that of the usual number of epochs
    batch_size = options.batch_size or batch_size
    test_images, test_labels = data[2:]

    net.initialize(mx.init.Xavier(), ctx=ctx)
    net.hybridize()
    print(f"mxcore {mx.__version__} on {ctx}: {len(data[0])} digits to learn from, {len(test_labels)} held out")
    history = train(net, data, ctx, epochs, batch_size, learning_rate=0.003 if options.data == "digits" else 0.001)

    os.makedirs(options.out, exist_ok=True)
    prefix = os.path.join(options.out, PREFIX)
    net.export(prefix)
    outputs = predict(net, test_images, ctx)
    imported = reload_in_fresh_process(prefix, test_images, options.ctx)
    bound = reload_and_bind(prefix, test_images, ctx)
    predicted = outputs.argmax(axis=1)
    draw(f"{prefix}.png", history, test_images, test_labels, predicted)

    accuracy = float(np.mean(predicted == test_labels))
    difference = float(np.abs(bound - outputs).max() / np.abs(outputs).max())
    checks = [
        (accuracy >= wanted, f"accuracy on {len(test_labels)} held-out digits: {accuracy:.2%}"
                             + (f" (wanted: {wanted:.1%})" if wanted else "")),
        (np.array_equal(imported, outputs), "SymbolBlock.imports in a fresh process: the same outputs, bit for bit"),
        (difference <= 1e-6, f"sym.load, nd.load and bind: the same outputs, relative difference {difference:.0e}"),
    ]
    print()
    for good, text in checks:
        print(("ok      " if good else "FAILED  ") + text)
    for suffix in ("-symbol.json", "-0000.params", ".png"):
        print(f"wrote   {prefix}{suffix} ({os.path.getsize(prefix + suffix) / 1024:.0f} KiB)")
    print(f"done in {time.perf_counter() - begin:.1f} s")
    return 0 if all(good for good, _ in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
