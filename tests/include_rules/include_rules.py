#!/usr/bin/env python3
"""Usage: include_rules.py ROOT

Fails where a file includes what its folder must not know. Kernels touch
hardware, collectives move bytes between ranks, the engine learns, models are
networks, apps are what a user starts; each may know those before it:

    kernels  <-  collectives  <-  engine  <-  models  <-  apps
"""
import functools
import pathlib
import re
import sys

FOLDERS = ("kernels", "collectives", "engine", "models", "apps", "bench",
           "tests")
SUFFIXES = {".h", ".hpp", ".cpp", ".cu", ".cuh"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# What each part may include besides itself. "kernels" are the public headers.
# An arrow passes on what its right side may include.
ARROWS = {
    "kernels/runtime": [],
    "kernels": ["kernels/runtime"],
    "kernels/cpu": ["kernels"],
    "kernels/cuda": ["kernels"],
    "collectives": ["kernels/runtime", "kernels/reduce.h"],
    "engine/tensor": ["kernels"],
    "engine/autograd": ["engine/tensor"],
    "engine/nn": ["engine/autograd"],
    "engine/optim": ["engine/autograd"],
    "engine/data": ["engine/tensor"],
    "engine/metrics": ["engine/tensor"],
    "engine/io": ["engine/tensor", "engine/nn", "engine/optim"],
    "engine/parallel": ["engine/autograd", "engine/nn", "collectives"],
    "engine/train": ["engine", "collectives"],
    "models": ["engine/nn"],
    "apps": ["models", "engine", "collectives", "bench/measure"],
    "bench/measure": ["kernels/runtime"],
    "bench": ["apps"],
    "tests": ["bench"],
}
PRIVATE = {"kernels/cpu", "kernels/cuda"}

VENDOR = re.compile(r"oneapi/|(dnnl|cudnn|cublas|cuda|nccl|mpi)\w*\.h")
MPI_FILES = re.compile(r"collectives/mpi_|bench/peers/")
# The emulator of CUDA and the kernels' tests: they see kernels/cuda.
CUDA_TESTS = re.compile(r"tests/(support/cudacpu|cuda|cudacpu)/")
NOT_FOR_CUDA = re.compile(r"(fmt|spdlog|nlohmann)/")


def is_in(name, part):
    """Whether path `name` is `part` or lies in it."""
    return name == part or name.startswith(part + "/")


def part_of(name):
    """The longest name in ARROWS that the path lies in: its part."""
    return max((part for part in ARROWS if is_in(name, part)), key=len,
               default=None)


@functools.cache
def visible(part):
    """The parts and files that `part` may include, itself among them."""
    named = {name for arrow in ARROWS[part] for name in (arrow, *ARROWS)
             if is_in(name, arrow)} - PRIVATE - {part}
    passed_on = set().union(*(visible(name) for name in named
                              if name in ARROWS))
    return {part} | named | passed_on


class Tree:
    def __init__(self, root):
        files = (f for top in FOLDERS for f in sorted((root / top).rglob("*")))
        self.includes = {
            file.relative_to(root).as_posix(): self.read(file)
            for file in files if file.suffix in SUFFIXES}

    @staticmethod
    def read(file):
        text = file.read_text()
        return [(text.count("\n", 0, match.start(1)) + 1, match[1], match[2])
                for match in INCLUDE.finditer(text)]

    def resolve(self, name, target):
        """The path of an include from the root; tests also include theirs."""
        in_tests = "tests/" + target
        if name.startswith("tests/") and in_tests in self.includes:
            return in_tests
        return target

    def violations(self):
        for name, includes in self.includes.items():
            for line, quote, target in includes:
                for reason in self.judge(name, quote, target):
                    yield f"{name}:{line}: includes {target}: {reason}"

    def judge(self, name, quote, target):
        path = self.resolve(name, target)
        if path in self.includes:
            yield from self.judge_ours(name, path)
        elif quote == '"':
            yield "no such file from the root; relative includes are not used"
        else:
            yield from self.judge_foreign(name, target)
        reached = self.reaches(path)
        if "mpi.h" in reached and not MPI_FILES.match(name):
            yield "brings mpi.h out of collectives/mpi_*"
        if name.endswith((".cu", ".cuh")):
            for foreign in sorted(filter(NOT_FOR_CUDA.match, reached)):
                yield f"brings {foreign} into CUDA code"

    @staticmethod
    def judge_ours(name, path):
        part, other = part_of(name), part_of(path)
        if part is None:
            yield "this file is in none of the known folders"
        elif other == "kernels/cuda" and CUDA_TESTS.match(name):
            return
        elif other != part and not {path, other} & visible(part):
            yield f"{part} must not know {other}"

    @staticmethod
    def judge_foreign(name, target):
        private = (part_of(name) in PRIVATE or MPI_FILES.match(name)
                   or CUDA_TESTS.match(name))
        if VENDOR.match(target) and not private and not name.endswith(
                (".cpp", ".cu")):
            yield "a vendor's header belongs into .cpp and .cu files"

    def reaches(self, path):
        """All that including `path` brings in."""
        seen, waiting = set(), [path]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += [self.resolve(path, target) for _, _, target
                            in self.includes.get(path, [])]
        return seen


def main():
    tree = Tree(pathlib.Path(sys.argv[1]))
    violations = list(tree.violations())
    print("\n".join(violations) or f"{len(tree.includes)} files are in order")
    return bool(violations)


if __name__ == "__main__":
    sys.exit(main())
