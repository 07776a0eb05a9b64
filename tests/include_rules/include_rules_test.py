"""The include rules find what they are for: one planted violation at a time."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import include_rules

# A tree that keeps the rules: file name -> what it includes.
GOOD = {
    "kernels/runtime/check.h": ["<fmt/format.h>"],
    "kernels/runtime/dtype.h": ["<cstddef>"],
    "kernels/conv.h": ['"kernels/runtime/dtype.h"'],
    "kernels/reduce.h": ['"kernels/runtime/dtype.h"'],
    "kernels/cpu/dnnl_conv.h": ["<oneapi/dnnl/dnnl.hpp>"],
    "kernels/cpu/conv.cpp": ['"kernels/cpu/dnnl_conv.h"', '"kernels/conv.h"'],
    "kernels/cuda/conv.cuh": ['"kernels/runtime/dtype.h"'],
    "kernels/cuda/conv.cu": ['"kernels/cuda/conv.cuh"', "<cudnn.h>"],
    "collectives/communicator.h": ['"kernels/reduce.h"'],
    "collectives/mpi_check.h": ["<mpi.h>"],
    "collectives/mpi_transport.cpp": ['"collectives/mpi_check.h"', "<mpi.h>"],
    "engine/tensor/tensor.h": ['"kernels/conv.h"'],
    "engine/autograd/variable.h": ['"engine/tensor/tensor.h"',
                                   '"kernels/conv.h"'],
    "engine/nn/module.h": ['"engine/autograd/variable.h"'],
    "engine/optim/sgd.h": ['"engine/autograd/variable.h"'],
    "engine/io/weights.h": ['"engine/nn/module.h"', '"engine/optim/sgd.h"'],
    "engine/data/loader.h": ['"engine/tensor/tensor.h"'],
    "engine/parallel/parallel.h": ['"collectives/communicator.h"',
                                   '"engine/nn/module.h"'],
    "engine/train/loop.h": ['"engine/parallel/parallel.h"',
                            '"engine/data/loader.h"',
                            '"collectives/communicator.h"'],
    "models/resnet.h": ['"engine/nn/module.h"', '"engine/tensor/tensor.h"'],
    "apps/train.cpp": ['"models/resnet.h"', '"engine/train/loop.h"',
                       '"bench/measure/fit.h"', '"collectives/communicator.h"'],
    "bench/measure/fit.h": ["<vector>"],
    "bench/perf.cpp": ['"bench/measure/fit.h"', '"engine/nn/module.h"'],
    "tests/support/catch.h": ["<catch2/catch.hpp>"],
    "tests/nn/module_test.cpp": ['"support/catch.h"', '"engine/nn/module.h"',
                                 '"collectives/communicator.h"'],
    "tests/support/cudacpu/cudacpu.h": ["<cuda_fp16.h>"],
    "tests/cuda/conv_test.cpp": ['"kernels/cuda/conv.cuh"'],
}

# File, the include planted in it, and a word of the reason.
VIOLATIONS = [
    ("kernels/runtime/dtype.h", '"kernels/conv.h"', "must not know"),
    ("kernels/conv.h", '"engine/tensor/tensor.h"', "must not know"),
    ("kernels/conv.h", '"kernels/cpu/dnnl_conv.h"', "must not know"),
    ("kernels/cpu/conv.cpp", '"kernels/cuda/conv.cuh"', "must not know"),
    ("kernels/cpu/conv.cpp", '"collectives/communicator.h"', "must not know"),
    ("collectives/communicator.h", '"kernels/conv.h"', "must not know"),
    ("collectives/communicator.h", '"engine/tensor/tensor.h"', "must not know"),
    ("engine/tensor/tensor.h", '"engine/autograd/variable.h"', "must not know"),
    ("engine/autograd/variable.h", '"engine/nn/module.h"', "must not know"),
    ("engine/nn/module.h", '"engine/optim/sgd.h"', "must not know"),
    ("engine/nn/module.h", '"collectives/communicator.h"', "must not know"),
    ("engine/optim/sgd.h", '"engine/nn/module.h"', "must not know"),
    ("engine/data/loader.h", '"engine/autograd/variable.h"', "must not know"),
    ("engine/io/weights.h", '"engine/data/loader.h"', "must not know"),
    ("engine/parallel/parallel.h", '"engine/train/loop.h"', "must not know"),
    ("engine/parallel/parallel.h", '"engine/optim/sgd.h"', "must not know"),
    ("engine/train/loop.h", '"models/resnet.h"', "must not know"),
    ("engine/train/loop.h", '"kernels/cpu/dnnl_conv.h"', "must not know"),
    ("models/resnet.h", '"engine/train/loop.h"', "must not know"),
    ("models/resnet.h", '"collectives/communicator.h"', "must not know"),
    ("models/resnet.h", "<engine/train/loop.h>", "must not know"),
    ("apps/train.cpp", '"bench/perf.cpp"', "must not know"),
    ("apps/train.cpp", '"support/catch.h"', "no such file"),
    ("bench/measure/fit.h", '"engine/nn/module.h"', "must not know"),
    ("bench/perf.cpp", '"kernels/cpu/dnnl_conv.h"', "must not know"),
    ("tests/nn/module_test.cpp", '"kernels/cuda/conv.cuh"', "must not know"),
    ("tests/cuda/conv_test.cpp", '"kernels/cpu/dnnl_conv.h"', "must not know"),
    ("engine/everything.h", '"engine/nn/module.h"', "none of the known"),
    ("engine/nn/module.h", '"../optim/sgd.h"', "relative"),
    ("engine/train/loop.h", '"loop_state.h"', "relative"),
    ("engine/nn/module.h", '"engine/nn/gone.h"', "no such file"),
    ("kernels/conv.h", "<oneapi/dnnl/dnnl.hpp>", "vendor"),
    ("kernels/conv.h", "<dnnl.hpp>", "vendor"),
    ("engine/tensor/tensor.h", "<cudnn.h>", "vendor"),
    ("engine/tensor/tensor.h", "<cuda_runtime.h>", "vendor"),
    ("collectives/communicator.h", "<nccl.h>", "vendor"),
    ("collectives/communicator.h", "<mpi.h>", "vendor"),
    ("collectives/ring.cpp", "<mpi.h>", "brings mpi.h"),
    ("collectives/ring.cpp", '"collectives/mpi_check.h"', "brings mpi.h"),
    ("apps/train.cpp", "<mpi.h>", "brings mpi.h"),
    ("kernels/cuda/conv.cu", "<fmt/format.h>", "CUDA code"),
    ("kernels/cuda/conv.cuh", "<nlohmann/json.hpp>", "CUDA code"),
    ("kernels/cuda/conv.cu", '"kernels/runtime/check.h"', "CUDA code"),
    ("kernels/cuda/conv.cu", "<spdlog/spdlog.h>", "CUDA code"),
]


class IncludeRulesTest(unittest.TestCase):
    def plant(self, tree):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, includes in tree.items():
            file = pathlib.Path(folder.name, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("// A file.\n" + "".join(
                f"#include {include}\n" for include in includes))
        return pathlib.Path(folder.name)

    def violations(self, tree):
        return "\n".join(include_rules.Tree(self.plant(tree)).violations())

    def test_good_tree(self):
        self.assertEqual(self.violations(GOOD), "")

    def test_violations(self):
        for name, include, reason in VIOLATIONS:
            with self.subTest(file=name, include=include):
                found = self.violations(GOOD | {name: [include]})
                self.assertIn(f"{name}:2: includes {include[1:-1]}: ", found)
                self.assertIn(reason, found)

    def test_header_that_brings_fmt_into_cuda_code(self):
        found = self.violations(
            GOOD | {"kernels/runtime/dtype.h": ['"kernels/runtime/check.h"']})
        self.assertIn("kernels/cuda/conv.cuh:2", found)
        self.assertIn("brings fmt/format.h into CUDA code", found)

    def test_exit_status(self):
        bad = GOOD | {"models/resnet.h": ['"apps/train.cpp"']}
        for tree, status in ((GOOD, 0), (bad, 1)):
            result = subprocess.run(
                [sys.executable, include_rules.__file__, self.plant(tree)],
                stdout=subprocess.DEVNULL)
            self.assertEqual(result.returncode, status)


if __name__ == "__main__":
    unittest.main()
