"""scripts/train: what it starts, with a program that only says what it got."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = "build/release/bin/ringlet"
SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"


class TrainTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "scripts").mkdir()
        (self.root / "build/release/bin").mkdir(parents=True)
        for name in ("train", "env"):
            shutil.copy(SCRIPTS / name, self.root / "scripts" / name)
        self.pretend("scripts/setup", "echo setup")
        self.pretend("scripts/build", 'echo "build $*"')
        self.pretend(PROGRAM, 'printf "<%s> " "$@"; echo')

    def pretend(self, program, body):
        file = self.root / program
        file.write_text("#!/usr/bin/env bash\n" + body + "\n")
        file.chmod(0o755)

    def run_script(self, *arguments):
        return subprocess.run(["scripts/train", *arguments], text=True,
                              timeout=60, cwd=self.root, capture_output=True)

    def assert_starts(self, arguments, ranks, *options):
        result = self.run_script(*arguments)
        setup, build, command = result.stdout.splitlines()
        self.assertEqual((setup, build), ("setup", "build release ringlet"))
        words = ["launch", "-np", ranks, "--", "train", *options]
        self.assertEqual(command, "".join(f"<{word}> " for word in words))

    def test_two_ranks_by_default(self):
        self.assert_starts([], "2")

    def test_ranks(self):
        self.assert_starts(["-np", "16"], "16")

    def test_options_are_passed_on(self):
        options = ["--data", "a folder", "--steps", "3", "-np", "*"]
        self.assert_starts(options, "2", *options)
        self.assert_starts(["-np", "4"] + options, "4", *options)
        self.assert_starts(["--help"], "2", "--help")

    def test_wrong_number_of_ranks(self):
        for ranks in ("0", "two", "-1", ""):
            result = self.run_script("-np", ranks)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(f"-np '{ranks}'", result.stderr)
        result = self.run_script("-np")
        self.assertEqual(result.returncode, 1)

    def test_exit_status_of_the_run(self):
        self.pretend(PROGRAM, "exit 7")
        self.assertEqual(self.run_script().returncode, 7)

    def test_failing_build_starts_nothing(self):
        self.pretend("scripts/build", "exit 1")
        result = self.run_script()
        self.assertEqual((result.returncode, result.stdout), (1, "setup\n"))


if __name__ == "__main__":
    unittest.main()
