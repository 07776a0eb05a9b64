"""Every script can be started and is read without complaint by its shell."""

import os
import pathlib
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCED = ROOT / "scripts/env"


class SyntaxTest(unittest.TestCase):
    def test_scripts(self):
        scripts = [*ROOT.glob("scripts/*"), *ROOT.glob(".ci/*")]
        self.assertIn(SOURCED, scripts)
        for script in scripts:
            with self.subTest(script=script):
                text = script.read_text()
                if script == SOURCED:
                    self.check_shell("sh", script)
                    continue
                self.assertTrue(os.access(script, os.X_OK), "not executable")
                if text.startswith("#!/usr/bin/env bash\n"):
                    self.check_shell("bash", script)
                else:
                    self.assertTrue(text.startswith("#!/usr/bin/env python3\n"))
                    compile(text, script, "exec")

    def check_shell(self, shell, script):
        result = subprocess.run([shell, "-n", script], text=True,
                                capture_output=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
