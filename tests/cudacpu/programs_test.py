"""The programs in jobs of several processes, each with the emulator's GPU."""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "apps"))
from job import JobTest  # noqa: E402
import unittest  # noqa: E402


class Programs(JobTest):
    def measure(self, ranks, *arguments):
        """The rows of a table, by back end, and all of its output."""
        output = self.run_job("--device", "cuda", "-n", 2, "-w", 1,
                              *arguments, ranks=ranks)
        rows = {}
        for line in output.splitlines():
            words = line.split()
            if line.startswith("#") or len(words) < 14:
                continue
            rows.setdefault(words[13], []).append(words)
        return rows, output

    def assert_right(self, rows, backends, count):
        self.assertEqual(sorted(rows), sorted(backends))
        for backend in rows.values():
            self.assertEqual(len(backend), count)
            for row in backend:
                self.assertEqual((row[8], row[12]), ("0", "0"), row)

    def test_ring_and_nccl_in_one_table(self):
        rows, output = self.measure(1, "-b", 4, "-e", "1K", "-f", 16,
                                    "--backends", "ring,nccl,nccl+bf16")
        self.assert_right(rows, ["ring", "nccl", "nccl+bf16"], 3)
        self.assertIn("time / nccl", output)
        self.assertIn("device cuda 0, an emulated GPU", output)

    def test_processes_reach_each_others_gpus(self):
        # Nothing on stderr: by CUDA IPC, or it would say why not.
        backends = ["ring", "ring:1K", "ring+pinned", "naive", "tree",
                    "recursive_doubling", "ordered", "auto+guard", "mpi",
                    "shared", "ring+bf16", "ordered+f16+pinned"]
        rows, output = self.measure(
            3, "-b", 4, "-e", "5000", "-f", 30, "--backends",
            ",".join(backends + ["nccl"]))
        self.assert_right(rows, backends, 3)
        self.assertIn("# Ranks share a GPU: functional, no measure of speed",
                      output)
        self.assertIn("# nccl: not run, since it refuses ranks that share a "
                      "GPU", output)

    def test_other_collectives_and_types(self):
        for kind in ("reduce_scatter", "all_gather"):
            rows, _ = self.measure(2, "-b", 1200, "-e", 1200, "--op", kind,
                                   "-d", "bfloat16", "--backends", "ring")
            self.assert_right(rows, ["ring"], 1)
        for kind in ("reduce", "broadcast"):
            # They have no form out of place.
            output = self.run_job(
                "--device", "cuda", "-n", 2, "-b", 1200, "-e", 1200, "--op",
                kind, "--backends", "tree,mpi", ranks=2)
            self.assertIn("Out of bounds values : 0 OK", output)

    def test_a_gpu_has_no_host_options(self):
        for option in (("-R", 1), ("--trace", "t.json"), ("--predict", 4),
                       ("--tune=t.json",)):
            self.assert_refused(
                rf"allreduce_perf: {option[0].split('=')[0]} with --device "
                rf"cuda: expected --device cpu",
                self.start("--device", "cuda", *option))

    def test_nccl_alone_on_a_shared_gpu(self):
        self.assert_fails(
            self.start("--device", "cuda", "--backends", "nccl", ranks=2),
            "allreduce_perf: --backends nccl: refuses ranks that share a GPU")


class Training(JobTest):
    def losses(self, *arguments):
        self.run_job_of(self.train, "train", "--model", "resnet20",
                        "--batch-size", 8, "--steps", 3, "--precision", "f32",
                        "--out", "run", *arguments)
        lines = (self.folder / "run" / "metrics.jsonl").read_text()
        (self.folder / "run").rename(self.folder / f"run{len(lines)}")
        return [line["loss"] for line in map(json.loads, lines.splitlines())
                if line["kind"] == "step"]

    def test_what_convolutions_are_computed_by_is_kept(self):
        arguments = ("train", "--device", "cuda", "--model", "resnet20",
                     "--batch-size", 4, "--steps", 1, "--precision", "f32",
                     "--out", "run", "--checkpoint-steps", 1)
        self.run_job_of(self.train, *arguments, ranks=1)
        file = self.folder / "run" / "convolutions.txt"
        first, *choices = file.read_text().splitlines()
        self.assertIn("an emulated GPU", first)
        self.assertGreater(len(choices), 20)
        for line in choices:
            self.assertRegex(line, r"^(forward|backward_data|backward_weights) "
                             r"of \[4, .* f32 .*: (engine [01]|matmul)$")
        # A run that goes on takes what it finds.
        named = choices[0].rpartition(": ")[0] + ": engine 2"
        file.write_text("\n".join([first, named]) + "\n")
        self.run_job_of(self.train, "train", "--resume", "run", "--steps", 2,
                        ranks=1)
        self.assertEqual(file.read_text(), f"{first}\n{named}\n")

    def test_a_batch_that_does_not_fit_is_refused_with_one_that_does(self):
        process = self.start_command(
            "mpirun", "-np", 2, self.train, "train", "--device", "cuda",
            "--model", "resnet20", "--batch-size", 127, "--precision", "f32",
            "--out", "run", environment={"CUDACPU_MEMORY_MB": "160"})
        self.assert_fails(
            process,
            r"ringlet: .*a step on 64 pictures per rank: out of memory on the "
            r"GPU: \d+ MiB more are needed, and \d+ of 160 MiB are free; this "
            r"process has taken \d+ MiB; one on 32 fits")
        self.assertFalse((self.folder / "run").exists())

    def run_job_of(self, program, *arguments, ranks=2):
        process = self.start_command("mpirun", "-np", ranks, program,
                                     *arguments)
        _, errors = process.communicate(timeout=240)
        self.assertEqual((process.returncode, errors), (0, ""))

    def test_two_processes_train_as_on_the_cpu(self):
        for options in ((), ("--batch-norm", "synchronised", "--wire-dtype",
                             "bf16")):
            gpu = self.losses("--device", "cuda", "--comm", "ring", *options)
            cpu = self.losses("--device", "cpu", "--comm", "ring", *options)
            self.assertEqual(len(gpu), 3)
            for ours, wanted in zip(gpu, cpu):
                self.assertAlmostEqual(ours, wanted, delta=2e-3 * wanted)

    def test_a_profiler_and_a_trace_are_told_the_same(self):
        if not self.nvtx_log:
            self.skipTest("the CUDA toolkit has no NVTX here")
        process = self.start_command(
            self.train, "train", "--device", "cuda", "--model", "resnet20",
            "--batch-size", 4, "--steps", 4, "--precision", "f32", "--out",
            "run", "--checkpoint-steps", 4, "--trace", "t.json",
            "--trace-steps", "1:4",
            environment={"NVTX_INJECTION64_PATH": self.nvtx_log})
        output, errors = process.communicate(timeout=240)
        self.assertEqual((process.returncode, errors), (0, ""))
        told = [line.split()[1:] for line in output.splitlines()
                if line.startswith("nvtx ")]
        # One after the other. The first step is the host's, the others are
        # recorded ones.
        self.assertEqual(told[1::2], [["end"]] * (len(told) // 2))
        names = [name for begin, name in told[::2] if begin == "begin"]
        self.assertEqual(
            names, ["data", "forward", "backward", "communication",
                    "optimizer", "device", "device", "device", "evaluation",
                    "checkpoint"])
        document = json.loads((self.folder / "t.json").read_text())
        events = [(e["args"]["training_step"], e["name"])
                  for e in sorted(document["traceEvents"],
                                  key=lambda e: e.get("ts", 0))
                  if e["ph"] == "X" and "pass" in e["args"]
                  and e["args"]["bucket"] < 0]
        steps = [1] * 5 + [2, 3, 4, 4, 4]
        self.assertEqual(events, list(zip(steps, names)))


if __name__ == "__main__":
    Training.train = sys.argv.pop()
    Training.nvtx_log = sys.argv.pop(1)
    Programs.program = sys.argv.pop()
    unittest.main()
