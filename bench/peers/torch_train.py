#!/usr/bin/env python3
"""The training step of bench/train_perf in PyTorch: ResNet-50 with the CIFAR
stem, fp32, SGD with momentum, random pictures that stay in memory. With
--ranks N as DistributedDataParallel over Gloo, in N processes.

Prints a line of JSON with begin and end of each step, on the clock that
train_perf --each uses. Needs PyTorch and torchvision, any version from 1.13.
"""

import argparse
import json
import os
import time

import torch
import torchvision


def network():
    net = torchvision.models.resnet50(num_classes=10)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    return net


def train(rank, options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    net = network()
    if options.channels_last:
        net = net.to(memory_format=torch.channels_last)
    if options.ranks > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(options.port))
        torch.distributed.init_process_group(
            "gloo", rank=rank, world_size=options.ranks)
        net = torch.nn.parallel.DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9,
                                weight_decay=5e-4)
    count = options.batch_size // options.ranks
    images = torch.rand(count, 3, 32, 32) * 2 - 1
    if options.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (count,))
    for _ in range(options.steps):
        begin = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        if rank == 0:
            print(json.dumps({"begin": begin, "end": time.monotonic()}),
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128,
                        help="pictures of all ranks in a step")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2, help="per rank")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--port", type=int, default=29511,
                        help="for the ranks to meet")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    if options.ranks == 1:
        train(0, options)
    else:
        torch.multiprocessing.spawn(train, (options,), options.ranks)


if __name__ == "__main__":
    main()
