#!/usr/bin/env python3
"""ResNet-50 with the CIFAR stem in PyTorch on a GPU, as its users run it: bf16
autocast, channels_last, SGD with momentum, on random pictures that stay in the
GPU's memory, so that no data pipeline is measured.

  --mode eager     as it comes, with cuDNN's benchmark mode
  --mode compiled  torch.compile(mode="max-autotune"), which uses CUDA graphs

Prints one line of JSON with the images/s of each measured group of steps.
Needs PyTorch 2 and torchvision.
"""

import argparse
import json
import time

import torch
import torchvision

STEPS_PER_GROUP = 10


def network():
    net = torchvision.models.resnet50(num_classes=10)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    return net


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mode", choices=("eager", "compiled"),
                        default="eager")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--groups", type=int, default=10,
                        help=f"groups of {STEPS_PER_GROUP} steps to measure")
    options = parser.parse_args()

    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda")
    net = network().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9,
                                weight_decay=5e-4, fused=True)
    images = torch.rand(options.batch_size, 3, 32, 32, device=device) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (options.batch_size,), device=device)

    def loss_of(pictures):
        with torch.autocast("cuda", torch.bfloat16):
            return torch.nn.functional.cross_entropy(net(pictures), labels)

    if options.mode == "compiled":
        loss_of = torch.compile(loss_of, mode="max-autotune")

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss_of(images).backward()
        optimizer.step()

    for _ in range(STEPS_PER_GROUP):
        step()
    speeds = []
    for _ in range(options.groups):
        torch.cuda.synchronize()
        begin = time.monotonic()
        for _ in range(STEPS_PER_GROUP):
            step()
        torch.cuda.synchronize()
        seconds = time.monotonic() - begin
        speeds.append(STEPS_PER_GROUP * options.batch_size / seconds)
    print(json.dumps({"torch": torch.__version__,
                      "cudnn": torch.backends.cudnn.version(),
                      "images_per_second": speeds}))


if __name__ == "__main__":
    main()
