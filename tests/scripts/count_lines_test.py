"""scripts/count-lines: what is a line of code, and where the limit bites."""

import pathlib
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/count-lines"

SAMPLE = '''// A comment.

/* One
   more. */ int a;
int b = 1'000;  /* it's
*/
const char* url = "http://x";  /* and
*/
char quote = '"';  // "
const char* raw = R"(
// not a comment
)";
'''
SAMPLE_LINES = 7


class CountLinesTest(unittest.TestCase):
    def count(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                file = pathlib.Path(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return subprocess.run([SCRIPT, folder], text=True,
                                  capture_output=True)

    def test_counts_code_only(self):
        result = self.count({"engine/nn/a.cpp": SAMPLE, "engine/a.txt": "x"})
        self.assertEqual(result.returncode, 0)
        first, engine, _, gpu = result.stdout.splitlines()
        self.assertEqual(first.split(), [str(SAMPLE_LINES), "engine/nn"])
        self.assertEqual(engine.split()[0], str(SAMPLE_LINES))
        self.assertEqual(gpu.split()[0], "0")

    def test_limit(self):
        half = "int a;\n" * 8000
        files = {"engine/a.h": half, "kernels/cpu/a.cpp": half,
                 "kernels/a.h": half, "tests/a.cpp": half}
        self.assertEqual(self.count(files).returncode, 0)
        files["models/a.cpp"] = "int a;\n"
        result = self.count(files)
        self.assertEqual(result.returncode, 1)
        self.assertIn("16,001  of at most 16,000", result.stdout)

    def test_limit_of_what_is_for_gpus(self):
        half = "int a;\n" * 2250
        files = {"kernels/cuda/a.cu": half, "collectives/gpu/a.cpp": half,
                 "collectives/a.cpp": "int a;\n"}
        result = self.count(files)
        self.assertEqual(result.returncode, 0)
        self.assertIn("  1  of at most 16,000", result.stdout)
        files["kernels/cuda/b.cuh"] = "int a;\n"
        result = self.count(files)
        self.assertEqual(result.returncode, 1)
        self.assertIn("4,501  of at most 4,500", result.stdout)


if __name__ == "__main__":
    unittest.main()
