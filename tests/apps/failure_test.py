"""A training that fails on its way ends the whole job, with one message."""

import json
import os
import pathlib
import resource
import shutil
import signal
import time

import job
from launch_test import SECONDS_TO_END, processes_in, wait_until

HANG = 86  # the status that tells of it
QUICK = ["--model", "resnet20", "--batch-size", "2", "--threads", "1"]
# Leaves its process ID, and lets a file that is too long be an error.
TELL = ["sh", "-c", 'echo $$ > pid.$OMPI_COMM_WORLD_RANK; trap "" XFSZ; '
        'exec "$0" "$@"']


class FailureTest(job.JobTest):
    def start_training(self, *options):
        """A job of two ranks that has begun to write its steps."""
        process = self.start("train", *QUICK, "--out", "run", *options,
                             ranks=2, wrapper=TELL)
        while not self.steps() and process.poll() is None:
            time.sleep(0.01)
        return process

    def steps(self):
        metrics = self.folder / "run/metrics.jsonl"
        return metrics.read_text().count("\n") if metrics.exists() else 0

    def pid(self, rank):
        return int((self.folder / f"pid.{rank}").read_text())

    def limit(self, rank, what, value):
        resource.prlimit(self.pid(rank), what, (value, value))

    def limit_memory(self, pid):
        """Leaves enough for what libraries still ask for, which they do not
        all bear to be refused, but not for larger batches."""
        pages = pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]
        most = int(pages) * resource.getpagesize() + (8 << 20)
        resource.prlimit(pid, resource.RLIMIT_AS, (most, most))

    def assert_no_weights(self):
        names = [file.name for file in (self.folder / "run").iterdir()
                 # Of a rank 0 that was killed; and what the ranks did last.
                 if file.name not in (".lock", "calls")]
        self.assertEqual(sorted(names),
                         ["config.json", "hashes.bin", "metrics.jsonl"])

    def test_disk_is_full_while_training(self):
        process = self.start_training("--steps", "100000")
        self.limit(0, resource.RLIMIT_FSIZE, 1)
        self.assert_fails(process, "ringlet: rank 0: run/metrics.jsonl: cannot "
                                   "write: File too large")
        self.assert_no_weights()

    def test_disk_is_full_at_the_end(self):
        process = self.start_training("--steps", "30")
        self.limit(0, resource.RLIMIT_FSIZE, 100_000)
        self.assert_fails(process, "ringlet: run/model.safetensors: cannot "
                                   "write: File too large")
        self.assert_no_weights()

    def test_another_rank_runs_out_of_memory(self):
        process = self.start_training("--steps", "100")
        self.limit_memory(self.pid(1))
        self.assert_fails(process, r"ringlet: rank 1: out of memory: the "
                                   r"system refuses \d+ bytes")
        self.assert_no_weights()

    def rank_in_folder(self, rank):
        """The process ID of a rank that works there."""
        variable = f"OMPI_COMM_WORLD_RANK={rank}"
        found, = [pid for pid in processes_in(self.folder) if variable in
                  pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")]
        return found

    def test_one_rank_ends_the_others_within_seconds(self):
        steps = 60
        launched = [self.program, "launch", "-np", 3, "--"]
        bare = ["mpirun", "-np", 3, self.program]
        for launcher in (launched, bare):
            with self.subTest(launcher[0]):
                shared_memory = set(os.listdir("/dev/shm"))
                process = self.start_command(
                    *launcher, "train", "--model", "resnet20", "--batch-size",
                    3, "--threads", 1, "--steps", steps, "--out", "run")
                wait_until(lambda: self.steps() > 0)
                self.limit_memory(self.rank_in_folder(1))
                # In the evaluation that follows the last step.
                wait_until(lambda: self.steps() >= steps)
                last_step = time.monotonic()
                _, errors = process.communicate(timeout=SECONDS_TO_END)
                wait_until(lambda: processes_in(self.folder) == [],
                           last_step + SECONDS_TO_END - time.monotonic())
                self.assertEqual(process.returncode, 1)
                message, = job.OURS.findall(errors)
                self.assertRegex(message, "ringlet: rank 1: out of memory: .+")
                if launcher is launched:
                    self.assertTrue(errors.endswith("\n" + message), errors)
                self.assertEqual(set(os.listdir("/dev/shm")), shared_memory)
                self.assert_no_weights()
                shutil.rmtree(self.folder / "run")

    def test_a_rank_that_hangs(self):
        """Says who, in which step and bucket, and leaves a page about it."""
        process = self.start("train", *QUICK, "--out", "run", "--timeout", 2,
                             "--checkpoint-steps", 2, ranks=2)
        wait_until(lambda: self.steps() > 3)
        os.kill(self.rank_in_folder(1), signal.SIGSTOP)
        self.assert_fails(
            process, r"ringlet: hang: rank 0 has waited 2\.\d s in call \d+, "
            r"[^;]+\(step \d+\) for rank 1, which .+: process \d+ on \S+ is "
            r"stopped; .+; more in run/crash\.txt", status=HANG)
        card = (self.folder / "run/crash.txt").read_text()
        self.assertIn("\ntry       kill -CONT ", card)
        self.assertRegex(card, r"versions  ringlet \d.*MPI")
        # The same from what the ranks have left.
        output = self.run_job("crash", "run")
        self.assertRegex(output, r"verdict   .+ fell silent .+\n")
        self.assertRegex(output, r"\n  1   process \d+ on ")
        # A run that goes on where it was leaves neither.
        self.run_job("train", "--resume", "run", "--steps", 200, ranks=2)
        self.assertFalse((self.folder / "run/calls").exists())
        self.assert_refused("ringlet: run/calls: no record of calls there.*",
                            self.start("crash", "run"))
        self.assert_refused("ringlet: RUN is required; see ringlet crash "
                            "--help", self.start("crash"))

    def test_divergence(self):
        process = self.start("train", *QUICK, "--lr", "1e20", "--out", "run",
                             ranks=2)
        self.assert_fails(
            process, r"ringlet: 20 steps in a row without a finite loss and "
            r"gradient, the last of them step \d+; in backward it was first "
            r"the gradient of 'fc\.\w+' on rank 0: the training has diverged; "
            r"a smaller --lr \(now 1e\+20\) or some --warmup-epochs may help")
        self.assert_no_weights()
        config = json.loads((self.folder / "run/config.json").read_text())
        self.assertEqual(config["options"]["lr"], 1e20)


if __name__ == "__main__":
    job.main()
