#!/usr/bin/env python3
"""recipes/fast-cifar with ResNet-20, in PyTorch: how good the recipe is by
another program, on the same pictures.

The network is models/resnet.h's (projection shortcuts), its weights are drawn
as torchvision draws them, pictures are padded by 4, cropped and flipped. Prints
a line per epoch: training loss and accuracy, and the accuracy on test_batch.bin.

Needs PyTorch, CIFAR-10's binary version, and an hour on two cores:
    python3 bench/peers/torch_recipe.py --data data/cifar10
"""

import argparse
import pathlib
import platform

import numpy as np
import torch
from torch import nn
from torch.nn import functional

RECORD = 1 + 3 * 32 * 32  # bytes of CIFAR-10's binary version
PADDING = 4
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)
STD = torch.tensor([0.2470, 0.2435, 0.2616]).reshape(3, 1, 1)


class Block(nn.Module):
    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride != 1 or width_in != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False),
                nn.BatchNorm2d(width))

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x))


def resnet20():
    blocks, width_in = [], 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for i in range(3):
            blocks.append(Block(width_in, width, stride if i == 0 else 1))
            width_in = width
    net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False),
                        nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                        nn.Linear(64, 10))
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out",
                                    nonlinearity="relu")
    return net


def read(folder, *names):
    """Normalised pictures, and labels."""
    records = np.concatenate([np.fromfile(pathlib.Path(folder) / name, np.uint8)
                              .reshape(-1, RECORD) for name in names])
    pixels = torch.from_numpy(records[:, 1:]).reshape(-1, 3, 32, 32)
    return (pixels / 255 - MEAN) / STD, torch.from_numpy(records[:, 0]).long()


def augmented(padded):
    """Of padded pictures, crops at random places, every other one flipped."""
    count = len(padded)
    place = torch.randint(2 * PADDING + 1, (2, count, 1))
    rows, columns = place + torch.arange(32)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None, None],
                  torch.arange(3)[None, :, None, None],
                  rows[:, None, :, None], columns[:, None, None, :]]


def accuracy(net, pictures, labels):
    net.eval()
    with torch.no_grad():
        right = sum((net(x).argmax(1) == y).sum().item()
                    for x, y in zip(pictures.split(1000), labels.split(1000)))
    net.train()
    return 100 * right / len(labels)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="CIFAR-10's folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    print(f"# {vars(args)}, PyTorch {torch.__version__}, {platform.machine()}",
          flush=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    pictures, labels = read(args.data,
                            *(f"data_batch_{i}.bin" for i in range(1, 6)))
    test = read(args.data, "test_batch.bin")
    padded = functional.pad(pictures, [PADDING] * 4)
    net = resnet20()
    plain = [p for p in net.parameters() if p.dim() == 1]
    decayed = [p for p in net.parameters() if p.dim() > 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": args.weight_decay},
         {"params": plain, "weight_decay": 0}],
        lr=args.lr, momentum=0.9, nesterov=True)
    steps = -(-len(labels) // args.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.lr, epochs=args.epochs, steps_per_epoch=steps,
        cycle_momentum=False)
    for epoch in range(args.epochs):
        loss_sum, right = 0.0, 0
        for batch in torch.randperm(len(labels)).split(args.batch_size):
            logits = net(augmented(padded[batch]))
            loss = functional.cross_entropy(
                logits, labels[batch], label_smoothing=args.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum += loss.item() * len(batch)
            right += (logits.argmax(1) == labels[batch]).sum().item()
        print(f"epoch {epoch + 1}: training loss {loss_sum / len(labels):.4f}, "
              f"accuracy {100 * right / len(labels):.2f} %; on "
              f"{len(test[1])} held-out pictures {accuracy(net, *test):.2f} %",
              flush=True)


if __name__ == "__main__":
    main()
