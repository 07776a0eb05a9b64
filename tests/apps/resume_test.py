"""A run that is killed and resumed ends with the bits of one that was not."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import job
from launch_test import processes_in, wait_until

RANKS, STEPS = 2, 60
KILLS = 10
TOY = ["train", "--model", "resnet20", "--batch-size", 4, "--threads", 1]
NEW = [*TOY, "--steps", STEPS, "--checkpoint-steps", 4, "--seed", 5]
TELL = ["sh", "-c", 'echo $$ > pid.$OMPI_COMM_WORLD_RANK; exec "$0" "$@"']
SECONDS_TO_END = 5
SECONDS_TO_REFUSE = 2


class ResumeTest(job.JobTest):
    undisturbed = None  # weights, metrics, and how long it took

    def setUp(self):
        super().setUp()
        if ResumeTest.undisturbed is None:
            began = time.monotonic()
            self.run_job(*NEW, "--out", "whole", ranks=RANKS)
            seconds = time.monotonic() - began
            ResumeTest.undisturbed = (*self.outcome("whole"), seconds)
            shutil.rmtree(self.folder / "whole")

    def outcome(self, run):
        """The weights, and the metrics but for the times."""
        metrics = []
        lines = (self.folder / run / "metrics.jsonl").read_text().splitlines()
        for entry in map(json.loads, lines):
            for name in ("time", "seconds", "images_per_second", "ranks"):
                entry.pop(name, None)
            metrics.append(entry)
        return (self.folder / run / "model.safetensors").read_bytes(), metrics

    def assert_undisturbed(self, run):
        weights, metrics = self.outcome(run)
        self.assertEqual(metrics, self.undisturbed[1])
        self.assertEqual(weights, self.undisturbed[0])

    def kill_and_resume(self, seed):
        draw = random.Random(seed)
        rank, seconds = draw.randrange(RANKS), self.undisturbed[2]
        process = self.start(*NEW, "--out", "run", ranks=RANKS, wrapper=TELL)
        time.sleep(draw.uniform(0, seconds))
        pid = self.folder / f"pid.{rank}"
        if process.poll() is None and pid.exists() and pid.read_text():
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has just ended
            process.communicate(timeout=SECONDS_TO_END)
        process.communicate(timeout=job.SECONDS_TO_HANG)
        wait_until(lambda: processes_in(self.folder) == [], SECONDS_TO_END)
        killed = process.returncode != 0
        if not list((self.folder / "run").glob("checkpoints/step-*[0-9]")):
            shutil.rmtree(self.folder / "run", ignore_errors=True)
            self.run_job(*NEW, "--out", "run", ranks=RANKS)
        elif killed:
            self.run_job("train", "--resume", "run", ranks=RANKS)
        self.assert_undisturbed("run")
        for file in self.folder.glob("pid.*"):
            file.unlink()
        shutil.rmtree(self.folder / "run")
        return killed

    def test_killed_at_random_moments(self):
        seeds = [random.randrange(10**9) for _ in range(KILLS)]
        print("seeds of the kills:", *seeds, flush=True)
        killed = 0
        for seed in seeds:
            with self.subTest(seed=seed):
                killed += self.kill_and_resume(seed)
        self.assertGreater(killed, 0)

    def test_what_came_after_the_checkpoint_is_replaced(self):
        self.run_job(*NEW, "--out", "run", ranks=RANKS)
        output = self.run_job("train", "--resume", "run/checkpoints/step-56",
                              ranks=RANKS)
        self.assertIn("resumed   run/checkpoints/step-56, after step 56\n",
                      output)
        self.assertIn("a later checkpoint is now run/checkpoints/step-60.old",
                      output)
        self.assert_undisturbed("run")

    def test_options_may_change(self):
        self.run_job(*TOY, "--steps", 4, "--checkpoint-steps", 2, "--out",
                     "run", ranks=RANKS)
        output = self.run_job("train", "--resume", "run/", "--steps", 6,
                              "--lr", 0.25, "--schedule", "constant")
        self.assertIn("rate      0.25", output)
        self.assertIn("batch     4 in all, 4 per rank on 1 ranks; 6 steps",
                      output)
        config = json.loads((self.folder / "run/config.json").read_text())
        self.assertEqual(config["options"]["steps"], 6)
        for options in (["--batch-size", 8], ["--batch-per-rank", 2]):
            process = self.start("train", "--resume", "run", *options)
            self.assert_fails(process, "ringlet: run/checkpoints/step-6: goes "
                              "on with its batch of 4 pictures in all, .+")
        process = self.start("train", "--resume", "run", "--model", "resnet32")
        self.assert_fails(process, "ringlet: run/checkpoints/step-6/"
                          "model.safetensors: no tensor '.+")

    def test_from_inside_the_folder(self):
        self.run_job(*TOY, "--steps", 4, "--checkpoint-steps", 2, "--out",
                     "run", ranks=RANKS)
        checkpoints, self.folder = (self.folder / "run/checkpoints",
                                    self.folder / "run")
        self.run_job("train", "--resume", "checkpoints/step-2")
        self.folder = checkpoints
        self.run_job("train", "--resume", "./step-2")

    def test_nothing_to_resume(self):
        self.assert_refused("ringlet: nowhere: no checkpoint there, .+",
                            self.start("train", "--resume", "nowhere", ranks=2))

    def test_two_jobs_in_one_folder(self):
        first = self.start(*TOY, "--steps", 100000, "--checkpoint-steps", 2,
                           "--out", "run", ranks=RANKS, wrapper=TELL)
        wait_until(lambda: list(
            (self.folder / "run").glob("checkpoints/step-*[0-9]")))
        owner = (self.folder / "pid.0").read_text().strip()
        for command in ([*TOY, "--out", "run"], ["train", "--resume", "run"]):
            second = self.start(*command)
            self.assert_fails(
                second, rf"ringlet: run: another job is at work there \(process"
                rf" {owner} on {os.uname().nodename}\); .+")
            self.assertLess(time.monotonic() - second.began, SECONDS_TO_REFUSE)
        self.assertIsNone(first.poll())
        os.kill(int(owner), signal.SIGKILL)
        first.communicate(timeout=SECONDS_TO_END)
        # The lock of a dead process blocks nobody.
        self.assertTrue((self.folder / "run/.lock").exists())
        process = self.start("train", "--resume", "run", "--steps", 100000,
                             ranks=RANKS)
        wait_until(lambda: subprocess.run(
            ["grep", "-q", f"process {owner} ", self.folder / "run/.lock"]
            ).returncode == 1)
        self.assertIsNone(process.poll())

    def test_a_full_disk_costs_a_checkpoint_only(self):
        process = self.start(*TOY, "--steps", 40, "--checkpoint-steps", 20,
                             "--out", "run", wrapper=[
                                 "sh", "-c", 'trap "" XFSZ; exec "$0" "$@"'])
        wait_until(lambda: (self.folder / "run/metrics.jsonl").exists())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                         (100_000, resource.RLIM_INFINITY))
        wait_until(lambda: '"step":25' in (
            self.folder / "run/metrics.jsonl").read_text())
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        output, errors = process.communicate(timeout=job.SECONDS_TO_HANG)
        self.assertEqual((process.returncode, errors), (0, ""))
        self.assertRegex(output, r"warning   no checkpoint of step 20 \(\d+ "
                         r"bytes so far\): .+File too large; earlier ones")
        names = [path.name for path in
                 (self.folder / "run/checkpoints").iterdir()]
        self.assertEqual(names, ["step-40"])


if __name__ == "__main__":
    job.main()
