"""scripts/gpu-check with the programs of a BUILD, as it runs without a GPU: --try takes the CPU."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import gpu_report  # noqa: E402

PARTS = ["emulator", "ring", "kernels", "speed", "recipe"]


class GpuCheckTest(unittest.TestCase):
    def run_script(self, *arguments):
        return subprocess.run(
            [ROOT / "scripts" / "gpu-check", "--prebuilt", BUILD, *arguments],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_tried_on_the_cpu(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.run_script("--try", "--out", folder, *(
                word for part in PARTS for word in ("--part", part)))
            self.assertEqual(done.returncode, 0, done.stdout)
            out = pathlib.Path(folder)
            report = json.loads((out / "gpu-check.json").read_text())
            text = (out / "gpu-check.md").read_text()
        self.assertEqual(list(report["parts"]), PARTS)
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
        self.assertRegex(text, r"\| 2 \| 16,384 \| ring \| [\d.]+ \| ")
        emulated = report["parts"]["emulator"]["result"]
        if (pathlib.Path(BUILD) / "bin" / "kernel_dump_cudacpu").exists():
            self.assertRegex(
                text, r"\| network.bf16.x.grad \| \d+ \| 0 \| 0 \|")
        else:
            self.assertEqual(emulated, {"summary": "no emulator was built"})

    def test_arrays_that_differ_show(self):
        same = "a.f32 0x1p+1 -0x1p+0\nb.f16 0x1p+0\n"
        other = "a.f32 0x1p+1 -0x1.8p+0\nb.f16 nan\n"
        a, b = gpu_report.compare_dumps(same, other)
        self.assertEqual((a["elements"], a["different"], a["difference"]),
                         (2, 1, 0.25))
        self.assertGreater(a["difference"], a["bound"])
        self.assertEqual(b["difference"], float("inf"))
        with self.assertRaises(ValueError):
            gpu_report.compare_dumps(same, "a.f32 0x1p+1 -0x1p+0\n")

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
