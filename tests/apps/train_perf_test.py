"""What train_perf counts, which no noise of a machine changes."""

import json

import job

MOST_PAGE_FAULTS = 100  # per step
# Nominal GFLOP per picture and step of ResNet-50 with the CIFAR stem: three
# times 2.6 for the forward pass, less the stem's gradient by data.
RESNET50_GFLOP = 7.78


class TrainPerfTest(job.JobTest):
    def measure(self, ranks):
        self.run_job("--model", "resnet50", "--batch-size", 4, "--steps", 4,
                     "--threads", 1, "--json", "perf.json", ranks=ranks)
        return json.loads((self.folder / "perf.json").read_text())

    def test_a_step_asks_the_system_for_nothing(self):
        for ranks in (1, 2):
            with self.subTest(ranks=ranks):
                result = self.measure(ranks)
                self.assertEqual(result["ranks"], ranks)
                counts = result["per_rank"]
                self.assertEqual(counts["large_allocations"], [0] * ranks)
                for faults in counts["page_faults_per_step"]:
                    self.assertLess(faults, MOST_PAGE_FAULTS)

    def test_nominal_work(self):
        result = self.measure(1)
        self.assertAlmostEqual(result["gflop_per_image"], RESNET50_GFLOP,
                               places=2)
        speed, peaks = result["images_per_second"], result["fma_peak_gflops"]
        peak = (peaks["before"] + peaks["after"]) / 2
        self.assertAlmostEqual(
            result["share_of_peak"],
            speed["median"] * result["gflop_per_image"] / peak)

    def test_back_ends_in_turn(self):
        output = self.run_job(
            "--model", "resnet20", "--batch-size", 4, "--steps", 6, "--warmup",
            1, "--threads", 1, "--comm", "auto,ring,mpi", "--json",
            "perf.json", ranks=2)
        rows = json.loads((self.folder / "perf.json").read_text())
        self.assertEqual([row["communicator"] for row in rows],
                         ["auto", "ring", "mpi"])
        self.assertEqual(rows[2]["time_ratio"],
                         {"median": 1, "low": 1, "high": 1})
        for row in rows:
            self.assertIn(f"{row['images_per_second']:8.1f}", output)
            self.assertGreater(row["exposed_communication"]["median"], 0)
            ratio = row["time_ratio"]
            self.assertLessEqual(ratio["low"], ratio["median"])
            self.assertLessEqual(ratio["median"], ratio["high"])


if __name__ == "__main__":
    job.main()
