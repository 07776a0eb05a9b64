"""A short training, from its first line to the files that it leaves."""

import array
import json
import math
import os
import pathlib
import re
import shutil
import struct
import tempfile
import unittest

import job

PARAMETERS, BATCH_NORMS, STEPS, BATCH = 65, 21, 3, 8
OPTIONS = ["train", "--model", "resnet20", "--steps", STEPS,
           "--batch-size", BATCH, "--schedule", "cosine"]
# Options and what config.json has of them.
GIVEN = {
    "model": "resnet18", "stem": "imagenet", "zero_init_residual": True,
    "augment": False, "cutout": 4, "mixup": 0.25, "workers": 2,
    "accumulate": 2, "seed": 7,
    "batch_norm": "averaged", "base_batch": 16, "schedule": "multistep",
    "milestones": [1, 2.5], "gamma": 0.5, "warmup_epochs": 0.5,
    "momentum": 0.8, "nesterov": True, "optimizer": "lars", "trust": 0.01,
    "weight_decay": 0.002, "no_decay_bn_bias": True, "label_smoothing": 0.1,
    "clip_norm": 2.5, "ema_decay": 0.5, "check_calls": False, "timeout": 30,
    "bucket_mb": 0.5, "hashes": False,
    "check_weights": 2, "cuda_graph": False, "conv": "direct",
    "checkpoint_steps": 2, "checkpoint_epochs": 2, "keep": 2,
    "eval_every": 2, "log_every": 5, "tensorboard": True}
PHASES = ["data", "forward", "backward", "communication", "optimizer"]


def words_of(option, value):
    """As the command line has them."""
    name = "--" + option.replace("_", "-")
    if value is True:
        return [name]
    if value is False:
        return [name, "off"]
    return [name, ",".join(map(str, value)) if isinstance(value, list)
            else value]


def read_safetensors(path):
    """{name: (dtype, shape, values)} and the metadata; checks the layout."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    metadata, tensors, read = header.pop("__metadata__"), {}, 0
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = array.array({"F32": "f", "I64": "q"}[entry["dtype"]])
        values.frombytes(data[begin:end])
        assert len(values) == math.prod(entry["shape"]), name
        tensors[name] = entry["dtype"], entry["shape"], values
        read += end - begin
    assert read == len(data), "bytes that belong to no tensor"
    return tensors, metadata


class Run:
    """What a run printed and left in its folder."""

    def __init__(self, folder, output):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        *self.steps, self.epoch = [json.loads(line) for line in lines]
        self.config = json.loads((folder / "config.json").read_text())
        self.weights, self.metadata = read_safetensors(
            folder / "model.safetensors")
        self.folder, self.output = folder, output

    def kept(self, file):
        """The tensors of its last checkpoint."""
        return read_safetensors(
            self.folder / "checkpoints" / f"step-{STEPS}" / file)[0]

    def losses(self):
        return [step["loss"] for step in self.steps]


class TrainTest(job.JobTest):
    first = None  # on two ranks over the ring

    def setUp(self):
        super().setUp()
        if TrainTest.first is None:
            kept = tempfile.TemporaryDirectory()
            self.addClassCleanup(kept.cleanup)
            folder = pathlib.Path(kept.name)
            run = self.train(ranks=2)
            run.folder = shutil.move(run.folder, folder / "first")
            TrainTest.first = run

    def train(self, *options, lr=0.05, threads=1, out="runs/new", **how):
        output = self.run_job(*OPTIONS, "--lr", lr, "--threads", threads,
                              "--out", out, *options, **how)
        return Run(self.folder / out, output)

    def test_printed_lines(self):
        cores = os.cpu_count()
        rank = (r"rank {}    \S+, 1 kernel thread\(s\), may run on core\(s\) "
                rf"[\d,-]+ of {cores}\n")
        held_out = "1000 held-out pictures"
        accuracy = rf"{100 * self.first.epoch['validation']['accuracy']:.2f} %"
        self.assertRegex(
            self.first.output,
            r"\Amodel     resnet20 \(cifar stem\), 272474 parameters in 65 "
            r"tensors\n"
            rf"data      synthetic: 20000 training and {held_out}, 10 classes, "
            r"augmentation on\n"
            r"batch     8 in all, 4 per rank on 2 ranks; 3 steps, 0.00 epochs\n"
            r"rate      0.05 \(--lr, not scaled\), cosine\n"
            r"gradients auto, in \d+ buckets \(--bucket-mb 25\)\n"
            r"options   model=resnet20 steps=3 batch_size=8 lr=0.05 "
            r"schedule=cosine comm=auto device=cpu precision=f32 threads=1 "
            r"out=runs/new\n"
            + rank.format(0) + rank.format(1)
            + (r"warning   .+\n" if cores < 2 else "") +
            r"epoch 1  step 3/3  loss [\d.]+  [\d.]+ images/s  0s left\n"
            r"epoch 1: training loss [\d.]+, accuracy [\d.]+ %; "
            rf"on {held_out} loss [\d.]+, accuracy {accuracy}\n"
            r"trained on 24 pictures in \d+s \([\d.]+ images/s\); "
            rf"top-1 accuracy {accuracy} on {held_out}\n"
            r"weights   runs/new/model.safetensors\n"
            r"metrics   runs/new/metrics.jsonl\n\Z")

    def test_files_of_the_run(self):
        self.assertEqual(
            sorted(file.name for file in self.first.folder.iterdir()),
            ["config.json", "hashes.bin", "metrics.jsonl",
             "model.safetensors"])

    def test_config(self):
        options = self.first.config["options"]
        known = re.findall(r"^  (?:-\w,)?--([a-z-]+)",
                           self.run_job("train", "--help"), re.MULTILINE)
        self.assertEqual(
            options.keys() - {"ranks", "trace_first", "trace_last"},
            {name.replace("-", "_") for name in known}
            - {"help", "trace_steps"})
        for name, value in (("model", "resnet20"), ("steps", STEPS),
                            ("batch_size", BATCH), ("ranks", 2),
                            ("comm", "auto"), ("threads", 1),
                            ("augment", True), ("lr", 0.05)):
            self.assertEqual(options[name], value, name)
        versions = self.first.config["versions"]
        host = self.first.config["host"]
        self.assertEqual(sorted(versions),
                         ["compiler", "mpi", "onednn", "ringlet"])
        self.assertTrue(all(versions.values()))
        self.assertEqual(host["hostname"], os.uname().nodename)
        self.assertEqual(host["cores"], os.cpu_count())

    def test_config_has_the_values_that_were_given(self):
        """None of them the option's default."""
        self.run_job("train", "--steps", 1, "--batch-size", 4, "--out", "run",
                     "--threads", 1,
                     *[word for option in GIVEN.items()
                       for word in words_of(*option)])
        options = json.loads(
            (self.folder / "run/config.json").read_text())["options"]
        self.assertEqual({name: options[name] for name in GIVEN}, GIVEN)
        default = self.first.config["options"]
        self.assertEqual([name for name in GIVEN
                          if options[name] == default[name]], [])

    def test_skipped_steps_are_told(self):
        output = self.run_job("train", "--model", "resnet20", "--steps", 5,
                              "--batch-size", 4, "--lr", 1e20, "--threads", 1,
                              "--out", "run")
        steps = Run(self.folder / "run", output).steps
        self.assertEqual([step.get("skipped") for step in steps],
                         [None, True, True, True, True])
        self.assertIn("\nskipped 4 steps whose loss or gradient was not "
                      "finite\n", output)

    def test_metrics(self):
        for number, step in enumerate(self.first.steps, 1):
            self.assertEqual(
                (step["kind"], step["step"], step["epoch"], step["images"]),
                ("step", number, 1, BATCH))
            self.assertEqual(list(step["time"]), PHASES)
            self.assertGreater(min(step["time"].values()), 0)
            self.assertAlmostEqual(
                step["images_per_second"] * sum(step["time"].values()), BATCH)
            cosine = 0.05 * (1 + math.cos(math.pi * (number - 1) / STEPS)) / 2
            self.assertAlmostEqual(step["lr"], cosine)
        epoch = self.first.epoch
        self.assertEqual((epoch["kind"], epoch["epoch"]), ("epoch", 1))
        self.assertEqual(epoch["validation"]["pictures"], 1000)
        self.assertEqual(len(epoch["ranks"]), 2)
        for rank in epoch["ranks"]:
            self.assertGreater(rank["peak_memory_mib"], 1)
            self.assertGreater(rank["cpu_seconds"], 0)
        self.assertAlmostEqual(epoch["train"]["loss"],
                               sum(self.first.losses()) / STEPS)
        self.assertEqual(len(self.first.steps), STEPS)

    def test_weights(self):
        weights = self.first.weights
        buffers = {name for name in weights if name.endswith(
            ("running_mean", "running_var", "num_batches_tracked"))}
        self.assertEqual((len(weights) - len(buffers), len(buffers)),
                         (PARAMETERS, 3 * BATCH_NORMS))
        self.assertEqual(sum(len(weights[name][2])
                             for name in weights.keys() - buffers), 272474)
        self.assertEqual(weights["conv1.weight"][:2], ("F32", [16, 3, 3, 3]))
        self.assertEqual(list(weights["bn1.num_batches_tracked"][2]), [STEPS])
        for name, (_, _, values) in weights.items():
            self.assertTrue(all(map(math.isfinite, values)), name)
        metadata = self.first.metadata
        self.assertEqual((metadata["model"], metadata["stem"]),
                         ("resnet20", "cifar"))
        self.assertEqual(json.loads(metadata["classes"])[:2],
                         ["red heart", "red cross"])
        self.assertEqual(json.loads(metadata["mean"]),
                         [0.4712, 0.447, 0.4529])
        self.assertEqual(json.loads(metadata["std"]),
                         [0.2174, 0.2011, 0.2199])

    def test_two_ranks_over_mpi(self):
        run = self.train("--comm", "mpi", ranks=2)
        self.assertIn("\ngradients mpi, ", run.output)
        for own, over_ring in zip(run.losses(), self.first.losses()):
            self.assertAlmostEqual(own, over_ring, places=5)

    def test_16_bits_on_the_wire(self):
        """Near to what f32 gives, not the same; equal on both ranks."""
        for wire in ("bf16", "f16"):
            with self.subTest(wire):
                run = self.train("--comm", "ordered", "--wire-dtype", wire,
                                 "--check-weights", 1, ranks=2, out=f"runs/{wire}")
                self.assertEqual(run.config["options"]["wire_dtype"], wire)
                self.assertNotEqual(run.losses(), self.first.losses())
                for ours, exact in zip(run.losses(), self.first.losses()):
                    self.assertAlmostEqual(ours, exact, delta=0.05)
        # In memory that the ranks share nothing is rounded.
        shared = self.train("--wire-dtype", "bf16", ranks=2)
        self.assertEqual(shared.losses(), self.first.losses())
        self.assertEqual(shared.config["options"]["wire_dtype"], "f32")
        self.assertIn("\nwarning   --wire-dtype bf16: nothing is rounded, since "
                      "the ranks share memory\n", shared.output)

    @unittest.skipUnless("avx512bw" in pathlib.Path("/proc/cpuinfo").read_text(),
                         "oneDNN has bf16 on processors with AVX-512")
    def test_bf16(self):
        """Near to f32, not the same; as reproducible, resumed too."""
        run = self.train("--precision", "bf16", ranks=2)
        self.assertEqual(run.config["options"]["precision"], "bf16")
        for ours, exact in zip(run.losses(), self.first.losses()):
            self.assertNotEqual(ours, exact)
            self.assertAlmostEqual(ours, exact, delta=0.05)
        shards = ["--precision", "bf16", "--virtual-ranks", 2]
        one = self.train(*shards, out="runs/one")
        two = self.train(*shards, "--checkpoint-steps", 1, out="runs/two",
                         ranks=2)
        self.assertEqual(two.weights, one.weights)
        shutil.rmtree(two.folder / "checkpoints" / f"step-{STEPS}")
        (two.folder / "model.safetensors").unlink()
        self.run_job("train", "--resume", "runs/two")
        self.assertEqual(
            read_safetensors(two.folder / "model.safetensors")[0], one.weights)
        self.assertIn("to the bit", self.run_job("verify", "runs/one"))
        # With what reads and writes activations and weights elsewhere.
        rich = ["--precision", "bf16", "--batch-norm", "synchronised",
                "--ema-decay", 0.5]
        exact = self.train(*rich[2:], out="runs/exact", ranks=2)
        rounded = self.train(*rich, out="runs/rounded", ranks=2)
        self.assertNotEqual(rounded.losses(), exact.losses())
        for ours, wanted in zip(rounded.losses(), exact.losses()):
            self.assertAlmostEqual(ours, wanted, delta=0.05)
        # The averages were evaluated, in bf16; `eval` does it in f32.
        loss = json.loads(self.run_job("eval", "runs/rounded", "--json"))["loss"]
        self.assertAlmostEqual(rounded.epoch["validation"]["loss"], loss,
                               delta=0.02)

    def test_too_many_threads(self):
        cores = os.cpu_count()
        # Threads that wait for their turn without spinning are slow enough.
        run = self.train(ranks=2, threads=cores,
                         environment={"OMP_WAIT_POLICY": "passive"})
        self.assertEqual(run.output.count("\nwarning   "), 1)
        self.assertIn(f"\nwarning   2 ranks x {cores} threads on the {cores} "
                      "cores of ", run.output)
        # Other threads, another order of sums, which three steps amplify.
        for own, first in zip(run.losses(), self.first.losses()):
            self.assertAlmostEqual(own, first, delta=0.01)

    def test_one_rank_with_and_without_mpirun(self):
        alone = self.train(out="alone")
        self.assertIn("\ngradients solo, ", alone.output)
        ring = self.train("--comm", "ring", ranks=1, out="ring")
        self.assertIn("\ngradients ring, ", ring.output)
        self.assertIn(" 8 per rank on 1 ranks;", ring.output)
        self.assertEqual(ring.losses(), alone.losses())
        self.assertEqual(ring.weights, alone.weights)

    def test_starts_from_weights(self):
        weights = self.first.folder / "model.safetensors"
        run = self.train("--init", weights, "--weight-decay", 0, lr=1e-30)
        self.assertEqual(run.config["options"]["init"], str(weights))
        for name in ("conv1.weight", "layer3.2.bn2.weight", "fc.bias"):
            self.assertEqual(run.weights[name], self.first.weights[name], name)
        counter = "bn1.num_batches_tracked"
        self.assertEqual(list(run.weights[counter][2]), [2 * STEPS])

    def test_weights_of_another_model(self):
        weights = self.first.folder / "model.safetensors"
        for model, message in (
                ("resnet18", r"tensor 'conv1.weight' is f32 \[16, 3, 3, 3\], "
                             r"expected f32 \[64, 3, 3, 3\]"),
                ("resnet32", "no tensor '[a-z0-9.]+', which the model has")):
            self.assert_refused(
                f"ringlet: {weights}: {message}",
                self.start("train", "--model", model, "--init", weights))

    def test_help(self):
        for arguments, line in ((["--help"], "Usage: ringlet COMMAND"),
                                (["train", "--help"], "  --batch-size UINT")):
            help_of_all = self.run_job(*arguments, ranks=2)
            self.assertEqual(help_of_all.count(line), 1)
            self.assertEqual(help_of_all, self.run_job(*arguments))
            for line in help_of_all.splitlines():
                self.assertTrue(len(line) <= 80 or "{" in line, line)

    def test_an_average_of_the_weights_is_what_is_kept(self):
        output = self.run_job(*OPTIONS, "--ema-decay", 0.5, "--mixup", 0.2,
                              "--cutout", 16, "--checkpoint-steps", STEPS,
                              "--out", "run", ranks=2)
        run = Run(self.folder / "run", output)
        self.assertEqual(run.kept("ema.safetensors"), run.weights)
        trained = run.kept("model.safetensors")
        self.assertEqual(trained.keys(), run.weights.keys())
        for name, (dtype, _, values) in trained.items():
            self.assertEqual(values == run.weights[name][2], dtype == "I64",
                             name)


if __name__ == "__main__":
    job.main()
