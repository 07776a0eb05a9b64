#!/usr/bin/env python3
"""Takes weights from Ringlet to torchvision and back, and compares logits.

Ringlet's side goes through its program alone (train, export, import, predict,
eval), torchvision's through PyPI's `safetensors` and a strict load_state_dict.
Prints a table and exits with 1 past the bounds, with 77 where a package is
missing. Runs on the CPU:

    apt install python3-torch python3-torchvision    # Debian 12
    pip install safetensors
    scripts/build release ringlet
    python3 bench/peers/torchvision_interop.py [--data data/cifar10]
"""

import argparse
import json
import pathlib
import platform
import struct
import subprocess
import sys
import tempfile
import zlib

try:
    import numpy as np
    import safetensors.torch
    import torch
    import torchvision
except ImportError as error:
    print(f"{error}: this check needs PyTorch, torchvision and safetensors")
    sys.exit(77)

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PICTURES = 16
CALIBRATION_STEPS = 3
LOGITS_BOUND = 1e-4  # relative L2
LOSS_BOUND = 1e-4
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # CIFAR-10's


class Ringlet:
    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments):
        return subprocess.run(
            [str(part) for part in (self.program, *arguments)], check=True,
            text=True, stdout=subprocess.PIPE).stdout

    def logits(self, weights, pictures, *options):
        lines = self("predict", weights, *pictures, "--json", "--device",
                     "cpu", *options).splitlines()
        return np.array([json.loads(line)["logits"] for line in lines])


class Table:
    def __init__(self):
        self.failed = False
        print(f"{'check':<66} {'value':>9} {'bound':>8}")

    def add(self, check, value, bound):
        passed = bool(value <= bound)  # False for NaN
        self.failed |= not passed
        print(f"{check:<66} {value:>9.2e} {bound:>8.0e}  "
              f"{'ok' if passed else 'FAILED'}", flush=True)


def make_net(model, stem):
    net = torchvision.models.__dict__[model](num_classes=10)
    if stem == "cifar":
        width = net.conv1.out_channels
        net.conv1 = torch.nn.Conv2d(3, width, 3, padding=1, bias=False)
        net.maxpool = torch.nn.Identity()
    return net


def calibrate(net):
    """A few passes that leave real statistics in the batch norms."""
    net.train()
    with torch.no_grad():
        for _ in range(CALIBRATION_STEPS):
            net(torch.randn(PICTURES, 3, 32, 32))


def write_png(path, pixels):
    """Of bytes [height, width, 3]."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(
            ">I", zlib.crc32(body))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" +
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def normalised(pixels, mean=MEAN, std=STD):
    """Bytes [n, height, width, 3] as a batch."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return torchvision.transforms.functional.normalize(images, mean, std)


def torch_logits(net, images):
    net.eval()
    with torch.no_grad():
        return torch.cat([net(part) for part in images.split(100)]).numpy()


def distance(value, reference):
    return float(np.linalg.norm(value - reference) / np.linalg.norm(reference))


def changed_entries(one, other):
    return len(one.keys() ^ other.keys()) + sum(
        one[name].dtype != other[name].dtype
        or not torch.equal(one[name], other[name])
        for name in one.keys() & other.keys())


def to_torchvision(table, ringlet, folder, pictures, pixels):
    """A short run of Ringlet's, exported and loaded."""
    ringlet("train", "--model", "resnet50", "--steps", 3, "--batch-size", 8,
            "--device", "cpu", "--out", folder / "run")
    out = folder / "export.safetensors"
    ringlet("export", folder / "run", out)
    state = safetensors.torch.load_file(str(out))
    net = make_net("resnet50", "cifar")
    expected = net.state_dict()
    table.add(f"export, resnet50: entries of {len(expected)} that differ in "
              "dtype",
              sum(state[name].dtype != tensor.dtype
                  for name, tensor in expected.items()), 0)
    net.load_state_dict(state, strict=True)
    with safetensors.safe_open(str(out), "pt") as file:
        metadata = file.metadata()
    images = normalised(pixels, *(json.loads(metadata[key])
                                  for key in ("mean", "std")))
    table.add("export, resnet50: logits", distance(
        ringlet.logits(out, pictures), torch_logits(net, images)),
        LOGITS_BOUND)


def from_torchvision(table, ringlet, folder, pictures, pixels, model, stem):
    """A state dict of torchvision's, as Ringlet reads it."""
    net = make_net(model, stem)
    calibrate(net)
    path, back = folder / "torch.safetensors", folder / "back.safetensors"
    safetensors.torch.save_file(net.state_dict(), str(path))
    described = f"{model}, {stem} stem"
    if described not in ringlet("import", path):
        sys.exit(f"ringlet import does not recognize {described}")
    table.add(f"import, {described}: logits", distance(
        ringlet.logits(path, pictures, "--trained-on", "cifar10"),
        torch_logits(net, normalised(pixels))), LOGITS_BOUND)
    ringlet("export", path, back)
    table.add(f"import, {described}: entries changed by a round trip",
              changed_entries(net.state_dict(),
                              safetensors.torch.load_file(str(back))), 0)
    return net, path


def compare_evaluation(table, ringlet, net, path, data):
    """The whole test set."""
    records = np.fromfile(data / "test_batch.bin", np.uint8).reshape(-1, 3073)
    labels = records[:, 0].astype(int)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    logits = torch_logits(net, normalised(np.ascontiguousarray(pixels)))
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, logits.argmax(1)), 1)
    loss = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits).double(), torch.from_numpy(labels)).item()
    result = json.loads(ringlet("eval", path, "--data", data, "--json",
                                "--device", "cpu"))
    table.add(f"eval, {len(labels)} pictures: share told otherwise",
              np.abs(confusion - result["confusion"]).sum() / 2 / len(labels),
              1e-3)
    table.add("eval: loss", abs(result["loss"] - loss) / loss, LOSS_BOUND)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ringlet", help="the program", default=REPOSITORY /
                        "build/release/bin/ringlet")
    parser.add_argument("--data", type=pathlib.Path,
                        help="folder with CIFAR-10's test_batch.bin, for eval")
    args = parser.parse_args()
    torch.manual_seed(3)
    print(f"PyTorch {torch.__version__}, torchvision "
          f"{torchvision.__version__}, safetensors {safetensors.__version__}, "
          f"{platform.machine()}", flush=True)
    pixels = np.random.default_rng(3).integers(
        0, 256, (PICTURES, 32, 32, 3), np.uint8)
    ringlet, table = Ringlet(args.ringlet), Table()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        pictures = [folder / f"{i}.png" for i in range(PICTURES)]
        for path, picture in zip(pictures, pixels):
            write_png(path, picture)
        to_torchvision(table, ringlet, folder, pictures, pixels)
        for model, stem in (("resnet18", "cifar"), ("resnet50", "imagenet")):
            net, path = from_torchvision(table, ringlet, folder, pictures,
                                         pixels, model, stem)
        if args.data:
            compare_evaluation(table, ringlet, net, path, args.data)
    sys.exit(table.failed)


if __name__ == "__main__":
    main()
