"""Virtual ranks: the same bits on any number of ranks, killed and resumed on
another number too. With --full, ten kills, and ResNet-50."""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import unittest

import job
from launch_test import processes_in, wait_until
from resume_test import SECONDS_TO_END, TELL

FULL = "--full" in sys.argv
SHARDS = 8
WORLDS = (1, 2, 4, 8)
KILLS = 10 if FULL else 1
SMALL = ["--model", "resnet20", "--steps", 50, "--batch-size", 16]
LARGE = ["--model", "resnet50", "--steps", 10, "--batch-size", 16]
SECONDS_TO_TRAIN = 600
# What must not matter: a bucket for each parameter, or two in all (one in all is
# for tests/parallel/data_parallel_test.cpp); and who sums.
BUCKETS = (["--bucket-mb", 0], ["--bucket-mb", 1000], ["--comm", "ordered"])


class ReproducibleTest(job.JobTest):
    def train(self, run, ranks, *options):
        process = self.start("train", "--virtual-ranks", SHARDS, *options,
                             "--out", run, ranks=ranks)
        _, errors = process.communicate(timeout=SECONDS_TO_TRAIN)
        self.assertEqual((process.returncode, errors), (0, ""))
        return self.outcome(run)

    def outcome(self, run):
        """A hash of the weights, and the metrics but for the times."""
        metrics = []
        lines = (self.folder / run / "metrics.jsonl").read_text().splitlines()
        for entry in map(json.loads, lines):
            for name in ("time", "seconds", "images_per_second", "ranks"):
                entry.pop(name, None)
            metrics.append(entry)
        weights = (self.folder / run / "model.safetensors").read_bytes()
        return hashlib.sha256(weights).hexdigest(), metrics

    def assert_one_hash(self, *options):
        alone = self.train("1", 1, *options)
        for ranks, how in zip(WORLDS[1:], BUCKETS):
            with self.subTest(ranks=ranks):
                self.assertEqual(
                    self.train(str(ranks), ranks, *options, *how), alone)
        print(*options, "on", *WORLDS, "ranks:", alone[0], flush=True)

    def test_one_hash_on_any_number_of_ranks(self):
        self.assert_one_hash(*SMALL)

    @unittest.skipUnless(FULL, "only with --full")
    def test_one_hash_of_resnet50(self):
        self.assert_one_hash(*LARGE)

    def kill_and_resume(self, seed, undisturbed, seconds):
        draw = random.Random(seed)
        first, second = draw.sample(WORLDS, 2)
        process = self.start(
            "train", "--virtual-ranks", SHARDS, *SMALL, "--checkpoint-steps",
            5, "--out", "run", ranks=first, wrapper=TELL)
        checkpoints = self.folder / "run/checkpoints"
        wait_until(lambda: list(checkpoints.glob("step-*[0-9]")))
        time.sleep(draw.uniform(0, seconds))
        victim = self.folder / f"pid.{draw.randrange(first)}"
        if process.poll() is None:
            os.kill(int(victim.read_text()), signal.SIGKILL)
        process.communicate(timeout=job.SECONDS_TO_HANG)
        wait_until(lambda: processes_in(self.folder) == [], SECONDS_TO_END)
        if process.returncode != 0:
            self.run_job("train", "--resume", "run", ranks=second)
        self.assertEqual(self.outcome("run"), undisturbed,
                         f"{first} ranks, then {second}")
        shutil.rmtree(self.folder / "run")
        return process.returncode != 0

    def test_killed_and_resumed_on_another_number_of_ranks(self):
        began = time.monotonic()
        undisturbed = self.train("whole", 4, *SMALL)
        seconds = (time.monotonic() - began) / 2
        seeds = [random.randrange(10**9) for _ in range(KILLS)]
        print("seeds of the kills:", *seeds, flush=True)
        killed = 0
        for seed in seeds:
            with self.subTest(seed=seed):
                killed += self.kill_and_resume(seed, undisturbed, seconds)
        self.assertGreater(killed, 0)

    def test_what_does_not_fit_is_refused(self):
        def refused(message, *options, ranks):
            self.assert_refused(
                "ringlet: " + message,
                self.start("train", "--virtual-ranks", *options, ranks=ranks))
        refused("--virtual-ranks 4: expected a power of two and a multiple of "
                "the 3 ranks", 4, ranks=3)
        refused("--comm ring with --virtual-ranks: expected auto, ordered or "
                "shared, which add along one tree", 4, "--comm", "ring",
                ranks=2)
        refused("--batch-size 6: expected at least one picture for each of the "
                "8 virtual ranks", 8, "--batch-size", 6, ranks=2)


if __name__ == "__main__":
    if FULL:
        sys.argv.remove("--full")
    job.main()
