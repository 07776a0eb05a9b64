"""Runs `ringlet` as a user does: after `. scripts/env`, with or without mpirun,
in a new folder."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS_TO_REFUSE = 5
SECONDS_TO_HANG = 60
SECONDS_TO_TIDY = 10

OURS = re.compile(r"^(?:ringlet|allreduce_perf): .*\n", re.MULTILINE)
# What mpirun adds: paragraphs between dashes, and lines about itself.
MPIRUN = re.compile(
    r"^-{50,}\n[\s\S]*?^-{50,}\n"
    r"|^\[\S+\] (\S+ ORTE_ERROR_LOG: |.* help message|Set MCA ).*\n|^\n",
    re.MULTILINE)


class JobTest(unittest.TestCase):
    program = None  # the path of `ringlet`

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def files(self):
        return sorted(self.folder.rglob("*"))

    def start(self, *arguments, ranks=0, wrapper=(), environment=None):
        """`ringlet arguments...`; by mpirun where `ranks` is above 0."""
        launcher = ["mpirun", "-np", ranks] if ranks else []
        return self.start_command(
            *launcher, *wrapper, self.program, *arguments,
            environment=environment)

    def start_command(self, *command, environment=None, own_group=False):
        # The settings of whoever runs the tests must not matter.
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("OMP_", "OMPI_", "PRTE_", "PMI",
                                         "RINGLET_"))}
        # Nor whether there is a GPU: --device auto would take it.
        clean["CUDA_VISIBLE_DEVICES"] = ""
        files, began = self.files(), time.monotonic()
        process = subprocess.Popen(
            ["sh", "-c", '. "$0" && exec "$@"', ROOT / "scripts" / "env",
             *map(str, command)],
            cwd=self.folder, env={**clean, **(environment or {})}, text=True,
            start_new_session=own_group, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        process.files_before, process.began = files, began
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        """Ends what a test has left running; mpirun then tidies up."""
        process.terminate()
        try:
            process.communicate(timeout=SECONDS_TO_TIDY)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def run_job(self, *arguments, **how):
        """The output of a job that has to succeed, with nothing on stderr."""
        process = self.start(*arguments, **how)
        output, errors = process.communicate(timeout=SECONDS_TO_HANG)
        self.assertEqual((process.returncode, errors), (0, ""))
        return output

    def assert_fails(self, process, message, status=1):
        """The job says `message`, a pattern for a line, and nothing else but
        what mpirun adds, and ends with that status; returns its output."""
        output, errors = process.communicate(timeout=SECONDS_TO_HANG)
        self.assertEqual(MPIRUN.sub("", OURS.sub("", errors)), "")
        self.assertRegex("".join(OURS.findall(errors)), rf"\A{message}\n\Z")
        self.assertEqual(process.returncode, status)
        return output

    def assert_refused(self, message, process):
        """The same at once, with no output, and with nothing written."""
        self.assertEqual(self.assert_fails(process, message), "")
        self.assertLess(time.monotonic() - process.began, SECONDS_TO_REFUSE)
        self.assertEqual(self.files(), process.files_before)


def main():
    JobTest.program = sys.argv.pop(1)
    unittest.main()
