"""The loop of fault_loop with PyTorch's collectives over Gloo. Run
by bench/faults.py: torch_faults.py KIND RANK STEP [STEPS], one process per rank,
with MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE in the environment.

Exit status 4: a wrong sum."""
import datetime
import os
import signal
import sys
import time

import torch
import torch.distributed as dist

FIRST, SECOND = 262144, 10000
TIMEOUT = datetime.timedelta(seconds=float(os.environ["FAULT_TIMEOUT"]))


def both(data, kind):
    first, second = data[:FIRST], data[FIRST:]
    if kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exit":
        os._exit(0)
    if kind == "throw":
        raise RuntimeError("the fault")
    while kind == "lost":
        time.sleep(1000)
    if kind == "swap":
        dist.all_reduce(second)
    if kind == "count":
        dist.all_reduce(first[:-1])
    elif kind == "dtype":
        dist.all_reduce(first.view(torch.int32))
    elif kind == "redop":
        dist.all_reduce(first, op=dist.ReduceOp.MAX)
    elif kind != "skip":
        dist.all_reduce(first)
    if kind == "extra":
        dist.all_reduce(first)
    if kind != "swap":
        dist.all_reduce(second)


def main():
    kind, odd, when = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 50
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=TIMEOUT)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    data = torch.empty(FIRST + SECOND)
    for step in range(1, steps + 1):
        time.sleep(0.004)
        data[:FIRST], data[FIRST:] = step, -step
        now = rank == odd and step == when
        if now:
            print(f"rank {rank} has its fault now: {kind}", file=sys.stderr,
                  flush=True)
        both(data, kind if now else "")
        right = (data[:FIRST] == step * ranks).all() and (
            data[FIRST:] == -step * ranks).all()
        if not right:
            print(f"rank {rank}: a wrong sum in step {step}", file=sys.stderr,
                  flush=True)
            os._exit(4)
    dist.destroy_process_group()


main()
