#!/usr/bin/env python3
"""The first steps of ResNet-50 on CIFAR-10, in Ringlet and in PyTorch.

Both begin with the same weights and get the same pictures, augmented alike
(zero-padded by 4, cropped, flipped), in the same order, with the same SGD.
That is done for two seeds of weights and order. Float32 nets amplify rounding,
so two curves of one seed part after some steps; what shows whether the two
programs learn alike is how far they are apart beside two seeds of one program.
Prints the running means of the losses and these distances, and writes all
losses as lines of JSON.

Needs PyTorch 1.13 or later, torchvision, CIFAR-10's binary version, and half an
hour:
    scripts/build release step_dump
    python3 bench/peers/torch_curves.py --data data/cifar10 --out curves.jsonl
"""

import argparse
import json
import pathlib
import platform
import tempfile

import numpy as np
import torch
import torch_parity
import torchvision

RECORD = 1 + 3 * 32 * 32  # bytes of CIFAR-10's binary version
TRAIN_FILES = 5
PADDING = 4
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32).reshape(3, 1, 1)
STD = np.array([0.2470, 0.2435, 0.2616], np.float32).reshape(3, 1, 1)
# With 0.02 the loss first rises to 30, whatever the program or the seed.
RECIPE = {"lr": 0.005, "momentum": 0.9, "weight_decay": 5e-4}
WINDOW = 20  # steps of a running mean


def read_cifar10(folder):
    records = np.concatenate([
        np.fromfile(pathlib.Path(folder) / f"data_batch_{i + 1}.bin",
                    np.uint8).reshape(-1, RECORD)
        for i in range(TRAIN_FILES)])
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def augmented(image, random):
    y, x = random.integers(0, 2 * PADDING + 1, 2)
    padded = np.pad((image.astype(np.float32) / 255 - MEAN) / STD,
                    ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
    crop = padded[:, y:y + 32, x:x + 32]
    return crop[:, :, ::-1] if random.integers(2) else crop


def draw(data, count, seed):
    """The pictures of a run, in its order."""
    images, labels = data
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))[:count]
    pictures = np.stack([augmented(images[i], random) for i in order])
    return torch.from_numpy(pictures), torch.from_numpy(
        labels[order].astype(np.int64))


def smooth(losses):
    return np.convolve(losses, np.ones(WINDOW) / WINDOW, mode="valid")


def known_curves(out):
    """The losses in the file, by program and seed."""
    if not pathlib.Path(out).exists():
        return {}
    with open(out) as file:
        lines = [json.loads(line) for line in file]
    return {(line["program"], line["seed"]): line["losses"] for line in lines}


def keep(out, curves, program, seed, losses):
    curves[program, seed] = [round(float(loss), 5) for loss in losses]
    with open(out, "a") as file:
        file.write(json.dumps({"program": program, "seed": seed,
                               "losses": curves[program, seed]}) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10's folder")
    parser.add_argument(
        "--out", required=True,
        help="file for the losses; curves that it has are not run again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--step-dump", help="Ringlet's side",
        default=torch_parity.REPOSITORY / "build/release/bin/step_dump")
    args = parser.parse_args()
    print(f"resnet50, cifar stem, {args.steps} steps of {args.batch_size} "
          f"pictures, SGD {RECIPE}; PyTorch {torch.__version__}, torchvision "
          f"{torchvision.__version__}, {platform.machine()}", flush=True)
    curves = known_curves(args.out)
    with tempfile.TemporaryDirectory() as folder:
        ringlet = torch_parity.Ringlet(args.step_dump, folder)
        for seed in args.seeds:
            if {("Ringlet", seed), ("PyTorch", seed)} <= curves.keys():
                continue
            torch.manual_seed(seed)
            net = torch_parity.make_net("resnet50")
            start = ringlet.path("start")
            torch_parity.write_weights(start, net)
            images, labels = draw(read_cifar10(args.data),
                                  args.steps * args.batch_size, seed)
            losses = ringlet.run("resnet50", images, labels, weights=start,
                                 steps=args.steps, **RECIPE)["losses"]
            keep(args.out, curves, "Ringlet", seed, losses)
            losses = torch_parity.train(net, images, labels, args.steps,
                                        RECIPE)
            keep(args.out, curves, "PyTorch", seed, losses)

    means = {key: smooth(losses) for key, losses in curves.items()}
    print(f"\nmean loss of {WINDOW} steps\nuntil step  " + "  ".join(
        f"{program} seed {seed}" for program, seed in curves))
    for step in range(WINDOW, args.steps + 1, WINDOW):
        print(f"{step:>10}  " + "  ".join(
            f"{mean[step - WINDOW]:>14.4f}" for mean in means.values()))
    print("\nmean distance of these means, over all steps")
    keys = list(means)
    for i, a in enumerate(keys):
        for b in keys[i + 1:]:
            distance = np.abs(means[a] - means[b]).mean()
            print(f"  {a[0]} seed {a[1]} and {b[0]} seed {b[1]}: "
                  f"{distance:.4f}")


if __name__ == "__main__":
    main()
