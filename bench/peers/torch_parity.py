#!/usr/bin/env python3
"""Compares Ringlet with PyTorch: logits, gradients, losses and weights.

Both get the same weights and batches as safetensors files; bench/step_dump
computes Ringlet's side. Float32 nets amplify rounding, so gradients are
compared with PyTorch's float64, and the yardstick is how far PyTorch's own
float32 is from it. Prints a table and exits with 1 past the bounds.

Needs PyTorch 1.13 or later and torchvision; runs on the CPU:
    cmake --build --preset release --target step_dump
    python3 bench/peers/torch_parity.py
"""

import argparse
import pathlib
import platform
import subprocess
import sys
import tempfile

import numpy as np
import safetensors_io
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CLASSES = 10
BATCHES = 5  # of which the median counts
CALIBRATION_STEPS = 5
# Training is chaotic: with small batches or long momentum two float32 runs that
# differ by one rounding drift apart by more than the bound within 20 steps.
TRAINING_BATCH = 64
PLAIN_SGD = {"lr": 0.01, "momentum": 0, "weight_decay": 0}
SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
TRAININGS = [("20 steps of plain SGD", 20, PLAIN_SGD),
             ("5 steps with momentum and decay", 5, SGD)]

LOGITS_BOUND = 1e-4  # relative L2
NET_FACTOR = 3  # times the distance of PyTorch's float32
PARAMETER_FACTOR = 5
DISTANCE_FLOOR = 1e-3  # below it a distance is never too large
LOSS_BOUND = 1e-3  # times the loss


def initialize(conv):
    """As torchvision's ResNets do."""
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")


class CifarResNet(nn.Module):
    """He et al.'s ResNet-20 with projection shortcuts."""

    def __init__(self, blocks=3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.fc = nn.Linear(64, CLASSES)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize(module)

    @staticmethod
    def _stage(channels_in, channels, blocks, stride):
        shortcut = None
        if stride != 1:
            shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False),
                nn.BatchNorm2d(channels))
        first = BasicBlock(channels_in, channels, stride, shortcut)
        rest = [BasicBlock(channels, channels) for _ in range(blocks - 1)]
        return nn.Sequential(first, *rest)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def make_net(name):
    """`name` with the stem for 32x32 pictures, at torchvision's start."""
    if name == "resnet20":
        return CifarResNet()
    net = getattr(torchvision.models, name)(num_classes=CLASSES)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    initialize(net.conv1)
    net.maxpool = nn.Identity()
    return net


def draw_batch(count):
    """Noise around one pattern per class: there is something to learn."""
    patterns = torch.randn(CLASSES, 3, 32, 32,
                           generator=torch.Generator().manual_seed(1))
    labels = torch.randint(CLASSES, (count,))
    return torch.randn(count, 3, 32, 32) + patterns[labels], labels


def write_weights(path, net):
    safetensors_io.write(path, {
        name: value.numpy() for name, value in net.state_dict().items()})


def load_weights(path, net):
    """Refuses missing, unknown and misshapen entries."""
    arrays, _ = safetensors_io.read(path)
    net.load_state_dict(
        {name: torch.from_numpy(value) for name, value in arrays.items()})


class Ringlet:
    """Runs step_dump on files in one folder."""

    def __init__(self, program, folder):
        self.program, self.folder = program, pathlib.Path(folder)

    def run(self, model, images, labels, **options):
        """Options become flags: init_seed=1 is --init-seed 1."""
        batch, out = self.folder / "batch.safetensors", self.path("out")
        safetensors_io.write(batch, {
            "images": images.numpy(),
            "labels": labels.numpy().astype(np.int32)})
        command = [self.program, "--model", model, "--stem", "cifar",
                   "--classes", CLASSES, "--batch", batch, "--out", out]
        for name, value in options.items():
            command.append("--" + name.replace("_", "-"))
            if value is not True:
                command.append(value)
        subprocess.run([str(part) for part in command], check=True)
        return safetensors_io.read(out)[0]

    def path(self, name):
        return self.folder / f"{name}.safetensors"


class Table:
    """What was measured against its bound, one line each."""

    def __init__(self):
        self.failed = False
        print(f"{'check':<50} {'Ringlet':>10} {'PyTorch f32':>11} "
              f"{'bound':>9}")

    def add(self, check, value, bound, yardstick=None):
        passed = bool(value <= bound)  # False for NaN
        self.failed |= not passed
        peer = "" if yardstick is None else f"{yardstick:.3e}"
        print(f"{check:<50} {value:>10.3e} {peer:>11} {bound:>9.1e}  "
              f"{'ok' if passed else 'FAILED'}", flush=True)


def relative_distance(value, reference):
    """||value - reference|| / ||reference|| over lists of arrays."""
    error = sum(np.square(np.asarray(v, np.float64) - r).sum()
                for v, r in zip(value, reference))
    return float(np.sqrt(error / sum(np.square(r).sum() for r in reference)))


def eval_logits(net, images):
    net.eval()
    with torch.no_grad():
        return net(images).numpy()


def gradients(net, images, labels):
    """{parameter: gradient} in training mode, running statistics as before."""
    net.train()
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    loss = F.cross_entropy(net(images), labels)
    grads = torch.autograd.grad(loss, list(net.parameters()))
    for name, buffer in net.named_buffers():
        buffer.copy_(buffers[name])
    return {name: grad.numpy()
            for (name, _), grad in zip(net.named_parameters(), grads)}


def train(net, images, labels, steps, options):
    """The loss of each of `steps` SGD steps, each with its own samples."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), **options)
    losses = []
    for x, y in zip(images.chunk(steps), labels.chunk(steps)):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def double_of(name, net):
    copy = make_net(name).double()
    copy.load_state_dict(net.state_dict())
    return copy


def calibrate(net, batch_size):
    """A few steps that leave means of real activations in the buffers."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean instead of a decaying one
    train(net, *draw_batch(CALIBRATION_STEPS * batch_size), CALIBRATION_STEPS,
          SGD)


def compare_logits(table, check, model, net, ringlet, path, images, labels):
    actual = ringlet.run(model, images, labels, weights=path, eval=True)
    exact = eval_logits(double_of(model, net), images.double())
    table.add(check, relative_distance([actual["logits"]], [exact]),
              LOGITS_BOUND,
              relative_distance([eval_logits(net, images)], [exact]))


def check_weights(table, model, ringlet, batch_size):
    """Weights go out and come back; both sides compute the same with them."""
    images, labels = draw_batch(batch_size)
    net = make_net(model)
    calibrate(net, batch_size)
    there, back = ringlet.path("there"), ringlet.path("back")
    write_weights(there, net)
    compare_logits(table, "eval logits, PyTorch's weights", model, net,
                   ringlet, there, images, labels)

    ringlet.run(model, images, labels, weights=there, eval=True,
                save_weights=back)
    sent, returned = safetensors_io.read(there)[0], safetensors_io.read(back)[0]
    changed = set(sent) ^ set(returned) | {
        name for name in set(sent) & set(returned)
        if sent[name].dtype != returned[name].dtype
        or sent[name].shape != returned[name].shape
        or sent[name].tobytes() != returned[name].tobytes()}
    table.add(f"entries of {len(sent)} changed by a round trip", len(changed),
              0)

    ours, steps = ringlet.path("ours"), CALIBRATION_STEPS
    ringlet.run(model, *draw_batch(steps * batch_size), steps=steps,
                init_seed=1, save_weights=ours, **SGD)
    load_weights(ours, net)
    compare_logits(table, "eval logits, Ringlet's weights", model, net,
                   ringlet, ours, images, labels)


def check_gradients(table, model, ringlet, batch_size):
    net = make_net(model)
    weights = ringlet.path("weights")
    write_weights(weights, net)
    exact_net = double_of(model, net)
    names = [name for name, _ in net.named_parameters()]
    whole, each = [], []  # per batch: (Ringlet, PyTorch), and per parameter
    for _ in range(BATCHES):
        images, labels = draw_batch(batch_size)
        exact = gradients(exact_net, images.double(), labels)
        peer = gradients(net, images, labels)
        dump = ringlet.run(model, images, labels, weights=weights)
        sides = [{name: dump[f"grad.{name}"] for name in names}, peer]
        whole.append([relative_distance([side[n] for n in names],
                                        [exact[n] for n in names])
                      for side in sides])
        each.append([[relative_distance([side[n]], [exact[n]]) for n in names]
                     for side in sides])

    ringlet_net, peer_net = np.median(whole, axis=0)
    table.add(f"gradient of the whole net, median of {BATCHES}", ringlet_net,
              max(NET_FACTOR * peer_net, DISTANCE_FLOOR), peer_net)
    distance, yardstick = np.median(each, axis=0)
    bounds = np.maximum(PARAMETER_FACTOR * yardstick, DISTANCE_FLOOR)
    # The parameters nearest to their bounds, or farthest past them.
    order = np.argsort(np.nan_to_num(-distance / bounds, nan=-np.inf))
    for i in order[:5]:
        table.add(f"  {names[i]}", distance[i], bounds[i], yardstick[i])
    table.add(f"parameters of {len(names)} past their bounds",
              int((~(distance <= bounds)).sum()), 0)


def check_training(table, ringlet):
    model, weights = "resnet20", ringlet.path("weights")
    for title, steps, options in TRAININGS:
        net = make_net(model)
        write_weights(weights, net)
        exact_net = double_of(model, net)
        images, labels = draw_batch(steps * TRAINING_BATCH)
        dump = ringlet.run(model, images, labels, weights=weights, steps=steps,
                           **options)
        exact = train(exact_net, images.double(), labels, steps, options)
        peer = train(net, images, labels, steps, options)
        table.add(f"loss of {model}, {title}",
                  (np.abs(dump["losses"] - exact) / exact).max(), LOSS_BOUND,
                  (np.abs(peer - exact) / exact).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet50",
                        help="a torchvision ResNet, or resnet20")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--step-dump", help="the program to compare",
                        default=REPOSITORY / "build/release/bin/step_dump")
    args = parser.parse_args()
    torch.manual_seed(3)
    print(f"{args.model}, cifar stem, batches of {args.batch_size}; PyTorch "
          f"{torch.__version__}, torchvision {torchvision.__version__}, "
          f"{platform.machine()}; distances to PyTorch's float64", flush=True)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        ringlet = Ringlet(args.step_dump, folder)
        check_weights(table, args.model, ringlet, args.batch_size)
        check_gradients(table, args.model, ringlet, args.batch_size)
        check_training(table, ringlet)
    sys.exit(table.failed)


if __name__ == "__main__":
    main()
