"""scripts/gpu-check with the programs of a BUILD, as it runs without a GPU: --try takes the CPU."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


class GpuCheckTest(unittest.TestCase):
    def run_script(self, *arguments):
        return subprocess.run(
            [ROOT / "scripts" / "gpu-check", "--prebuilt", BUILD, *arguments],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_tried_on_the_cpu(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script("--try", "--out", folder, "--part",
                                   "kernels", "--part", "speed", "--part",
                                   "recipe")
            self.assertEqual(done.returncode, 0, done.stdout)
            out = pathlib.Path(folder)
            report = json.loads((out / "gpu-check.json").read_text())
            text = (out / "gpu-check.md").read_text()
        self.assertEqual(list(report["parts"]), ["kernels", "speed", "recipe"])
        for name, part in report["parts"].items():
            self.assertTrue(part["passed"], name)
        kernels = {kernel["name"]: kernel for kernel in
                   report["parts"]["kernels"]["result"][0]["kernels"]}
        # ResNet-20: 41 million multiply-adds for a picture of 32x32.
        per_picture = kernels["conv forward"]["flop"] / 8
        self.assertAlmostEqual(per_picture / 2, 40.8e6, delta=0.3e6)
        self.assertGreater(
            report["parts"]["speed"]["result"][0]["images_per_second"], 0)
        self.assertIn("| conv forward | ", text)
        self.assertIn("| 32 | f32 | on | ", text)

    def test_unknown_part(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script("--out", folder, "--part", "nonsense")
        self.assertEqual(done.returncode, 2)
        self.assertIn("nonsense", done.stdout)

    def test_without_a_gpu(self):
        if not (pathlib.Path(BUILD) / "bin" / "has_gpu").exists():
            self.skipTest("built without CUDA")
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script("--out", folder)
        self.assertEqual(done.returncode, 77, done.stdout)
        self.assertIn("gpu-check: skipped, no GPU: ", done.stdout)


if __name__ == "__main__":
    BUILD = sys.argv.pop()
    unittest.main()
