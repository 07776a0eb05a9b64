#!/usr/bin/env python3
"""Usage: buggy_test.py PROGRAM plain|address|thread

Tests the tester: each bug in tests/cudacpu/buggy_kernels.cuh must be found by
the builds that are meant to find it, each in its own way, and the kernels
without a bug must pass in all orders.
"""
import os
import re
import subprocess
import sys

ORDERS = ("fwd", "rev", "rnd:3")

# What each build says, in at least one order; "" where the bug is not for it.
# Every bug is found by at least one.
WRONG = r"expected"
OUTSIDE = r"SUMMARY: AddressSanitizer: use-after-poison .*in void buggy::"
RACE = r"SUMMARY: ThreadSanitizer: data race .*in void buggy::"
DEADLOCK = r"cudacpu: deadlock: 48 threads wait, 208 have exited"
DIVERGENT = r"cudacpu: divergent barrier: .*buggy_kernels.cuh"
SEGMENTATION = r"SEGV on unknown address"
BUGS = {
    # bug: (plain, address, thread)
    "tail_too_long": ("", OUTSIDE, ""),
    "no_column_guard": ("", OUTSIDE, ""),
    "shared_too_small":
        (WRONG, r"index 33 out of bounds for type 'float \[33\]'", WRONG),
    "shared_not_written": (WRONG, WRONG, WRONG),
    "exit_before_barrier": (DEADLOCK, DEADLOCK, DEADLOCK),
    "no_barrier": (WRONG, WRONG, RACE),
    "no_barrier_at_end": (WRONG, WRONG, RACE),
    "two_barriers": (DIVERGENT, DIVERGENT, DIVERGENT),
    "shuffle_in_if": 3 * (r"__shfl_down_sync at .*a lane of the mask has exited",),
    "no_atomic": ("", "", RACE),
    "misaligned": ("", r"misaligned address .* requires 16 byte", ""),
    "host_pointer": 3 * (r"argument 1 of a kernel is no pointer to device",),
    "read_on_host": ("", SEGMENTATION, SEGMENTATION),
    "order_dependent": (WRONG, WRONG, WRONG),
}


def run(program, bug, order):
    """Status and all output."""
    environment = dict(os.environ, CUDACPU_ORDER=order,
                       UBSAN_OPTIONS="halt_on_error=1")
    done = subprocess.run([program, bug], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          errors="replace", timeout=60)
    return done.returncode, done.stdout


def main():
    program, build = sys.argv[1:]
    column = ("plain", "address", "thread").index(build)
    wrong = []
    for order in ORDERS:
        status, output = run(program, "none", order)
        if status != 0 or output != "right\n":
            wrong.append(f"without a bug, order {order}: {output}")
    for bug, found_by in BUGS.items():
        if not any(found_by):
            wrong.append(f"{bug} is found by no build")
        if not found_by[column]:
            continue
        outputs = [run(program, bug, order) for order in ORDERS]
        if not any(status != 0 and re.search(found_by[column], output)
                   for status, output in outputs):
            wrong.append(f"{bug}: expected '{found_by[column]}', got " +
                         "\n".join(output[:300] for _, output in outputs))
    print("\n".join(wrong) or "all found")
    return len(wrong) > 0


sys.exit(main())
