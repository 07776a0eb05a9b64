"""scripts/train: what it starts, with a launcher that only says what it got."""

import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import unittest

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


class TrainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "scripts").mkdir()
        for name in ("train", "env"):
            shutil.copy(SCRIPTS / name, self.root / "scripts" / name)
        self.pretend("scripts/setup", "echo setup")
        self.pretend("scripts/build", 'echo "build $*"')
        self.pretend("mpirun", 'printf "<%s> " mpirun "$@"; echo\n'
                     'echo "$OMPI_MCA_hwloc_base_binding_policy"\n'
                     'echo "width ${RINGLET_TERMINAL:-none}"')

    def pretend(self, program, body):
        file = self.root / program
        file.write_text("#!/usr/bin/env bash\n" + body + "\n")
        file.chmod(0o755)

    def run_script(self, *arguments, **pipes):
        path = f"{self.root}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(["scripts/train", *arguments], text=True,
                              timeout=60, cwd=self.root, env={"PATH": path},
                              **pipes)

    def assert_starts(self, arguments, launched):
        result = self.run_script(*arguments, capture_output=True)
        setup, build, command, binding, width = result.stdout.splitlines()
        self.assertEqual((setup, build), ("setup", "build release ringlet"))
        self.assertEqual(command.split("> <"), launched)
        self.assertEqual((binding, width), ("none", "width none"))

    def launched(self, ranks, *options):
        program = "scripts/../build/release/bin/ringlet"
        words = ["<mpirun", "-np", ranks, program, "train", *options]
        words[-1] += "> "
        return words

    def test_two_ranks_by_default(self):
        self.assert_starts([], self.launched("2"))

    def test_ranks(self):
        self.assert_starts(["-np", "16"], self.launched("16"))

    def test_options_are_passed_on(self):
        options = ["--data", "a folder", "--steps", "3", "-np", "*"]
        self.assert_starts(options, self.launched("2", *options))
        self.assert_starts(["-np", "4"] + options,
                           self.launched("4", *options))
        self.assert_starts(["--help"], self.launched("2", "--help"))

    def test_wrong_number_of_ranks(self):
        for ranks in ("0", "two", "-1", ""):
            result = self.run_script("-np", ranks, capture_output=True)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(f"-np '{ranks}'", result.stderr)
        result = self.run_script("-np", capture_output=True)
        self.assertEqual(result.returncode, 1)

    def test_exit_status_of_the_run(self):
        self.pretend("mpirun", "exit 7")
        self.assertEqual(self.run_script(capture_output=True).returncode, 7)

    def test_failing_build_starts_nothing(self):
        self.pretend("scripts/build", "exit 1")
        result = self.run_script(capture_output=True)
        self.assertEqual((result.returncode, result.stdout), (1, "setup\n"))

    def test_width_of_the_terminal(self):
        for columns, expected in ((132, "width 132"), (0, "width 80")):
            try:
                ours, terminal = pty.openpty()
            except OSError as error:
                self.skipTest(f"no terminal to be had here: {error}")
            subprocess.run(["stty", "cols", str(columns)], stdin=terminal,
                           check=True)
            self.run_script(stdout=terminal)
            os.close(terminal)
            self.assertIn(expected, os.read(ours, 10000).decode())
            os.close(ours)


if __name__ == "__main__":
    unittest.main()
