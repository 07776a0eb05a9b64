"""What `ringlet` cannot do is refused: one line, once, at once, no traces."""

import os
import re

import job

CIFAR10_FILES = [*(f"data_batch_{i}.bin" for i in range(1, 6)),
                 "test_batch.bin"]
RECORD = 1 + 3072
FILE_SIZE = 10_000 * RECORD
QUICK = ["--model", "resnet20", "--batch-size", "8", "--threads", "1"]


class CommandTest(job.JobTest):
    def assert_line(self, message, *arguments, **how):
        self.assert_refused(re.escape("ringlet: " + message),
                            self.start(*arguments, **how))

    def test_commands(self):
        expected = "see ringlet --help"
        for arguments, message in (
                ([], f"no command; {expected}"),
                (["foo"], f"unknown command 'foo'; {expected}")):
            for ranks in (0, 2):
                with self.subTest(arguments=arguments, ranks=ranks):
                    self.assert_line(message, *arguments, ranks=ranks)

    def test_options(self):
        count = "expected a whole number from {} to 1000000000"
        for arguments, message in (
                ("--nonsense", "unknown option '--nonsense'"),
                ("extra", "unknown option 'extra'"),
                ("--steps", "--steps: 1 required UINT"),
                ("--steps -1", "--steps: '-1', " + count.format(1)),
                ("--steps 0", "--steps: '0', " + count.format(1)),
                ("--steps 3x", "--steps: '3x', " + count.format(1)),
                ("--steps 1 --epochs 1", "--steps excludes --epochs"),
                ("--batch-size 18446744073709551617",
                 "--batch-size: '18446744073709551617', " + count.format(1)),
                ("--batch-per-rank 1000000001",
                 "--batch-per-rank: '1000000001', " + count.format(1)),
                ("--threads 100000", "--threads: '100000', expected a whole "
                                     "number from 1 to 1024"),
                ("--lr 0", "--lr: '0', expected a number above 0"),
                ("--lr nan", "--lr: 'nan', expected a number above 0"),
                ("--momentum 1.5",
                 "--momentum: '1.5', expected a number from 0 to 1"),
                ("--ema-decay 1",
                 "--ema-decay: '1', expected a number from 0 to below 1"),
                ("--mixup 0.01", "--mixup: '0.01', expected 0, or a number "
                                 "from 0.05 to 1"),
                ("--cutout 1025", "--cutout: '1025', expected a whole number "
                                  "from 0 to 1024"),
                ("--milestones 3,x",
                 "--milestones: 'x', expected a number, 0 or more"),
                ("--bucket-mb 1e300", "--bucket-mb: '1e300', expected a number "
                                      "from 0 to 1000000000"),
                ("--schedule linear", "--schedule: linear not in {constant,"
                                      "multistep,cosine,onecycle}"),
                ("--augment maybe", "--augment: maybe not in {on,off}"),
                ("--comm gloo", "--comm: gloo not in {solo,auto,mpi,ring,naive,"
                                "tree,recursive_doubling,ordered,shared,"
                                "hierarchical,nccl}")):
            with self.subTest(arguments):
                self.assert_refused(
                    rf"ringlet: {re.escape(message)}.*; see ringlet train "
                    "--help", self.start("train", *arguments.split()))

    def test_options_under_mpirun(self):
        self.assert_line(
            "unknown option '--nonsense'; see ringlet train --help",
            "train", "--nonsense", ranks=2)
        self.assert_line(
            "--model: resnet19 not in {resnet18,resnet34,resnet50,resnet101,"
            "resnet152,resnet20,resnet32,resnet44,resnet56}; "
            "see ringlet train --help",
            "train", "--model", "resnet19", ranks=2)

    def test_what_this_build_or_launch_lacks(self):
        self.assert_refused(
            "ringlet: --device cuda: no GPU can be used: .+; expected auto or "
            "cpu", self.start("train", "--device", "cuda"))
        self.assert_line(
            "--precision f16 on the CPU: expected f32 or bf16, or --device "
            "cuda", "train", "--precision", "f16")
        self.assert_refused(
            "ringlet: --precision bf16 on the CPU: expected AVX-512, which "
            "oneDNN does not see here, or f32",
            self.start("train", "--precision", "bf16",
                       environment={"DNNL_MAX_CPU_ISA": "AVX2"}))
        self.assert_line("--comm nccl on the CPU: expected --device cuda",
                         "train", "--comm", "nccl")
        self.assert_line(
            "--comm solo is for one rank, but Open MPI started 2: expected "
            "auto, ring or mpi", "train", "--comm", "solo", ranks=2)
        self.assert_line(
            "--wire-dtype bf16 with --comm mpi: expected auto, nccl, hierarchical "
            "or an algorithm that sends our messages, as ordered or ring",
            "train", "--wire-dtype", "bf16", "--comm", "mpi", ranks=2)
        self.assert_line(
            "--wire-dtype f16 with --virtual-ranks: expected f32, since the "
            "bits would depend on the number of ranks",
            "train", "--wire-dtype", "f16", "--virtual-ranks", 2)

    def test_batch(self):
        self.assert_line(
            "--batch-size 3: expected at least one picture for each of the 4 "
            "ranks", "train", "--batch-size", 3, ranks=4)
        self.assert_line(
            "a batch of 20001 pictures: expected at most the 20000 training "
            "pictures; see --batch-size", "train", "--batch-per-rank", 20001)

    def test_environment(self):
        self.assert_line(
            "environment variable OMPI_COMM_WORLD_RANK is 'x', expected a "
            "number from 0 to 1", "train",
            environment={"OMPI_COMM_WORLD_RANK": "x",
                         "OMPI_COMM_WORLD_SIZE": "2"})
        self.assert_line(
            "RINGLET_TERMINAL is 'wide', expected a number of columns, 0 to "
            "1000", "train", environment={"RINGLET_TERMINAL": "wide"})

    def test_first_rank_comes_late(self):
        one = [self.program, "train", "--nonsense"]
        self.assert_refused(
            "ringlet: unknown option '--nonsense'; see ringlet train --help",
            self.start_command(
                "mpirun", "-np", 1, "sh", "-c", 'sleep 1.3; exec "$0" "$@"',
                *one, ":", "-np", 1, *one))

    def test_ranks_that_differ(self):
        one = ["-np", 1, self.program, "train"]
        self.assert_refused(
            r"ringlet: rank 1: the configuration is not the same on all ranks: "
            r"'\"lr\": 0.2,' here, '\"lr\": 0.1,' on rank 0",
            self.start_command("mpirun", *one, "--lr", 0.1,
                               ":", *one, "--lr", 0.2))


class DataTest(job.JobTest):
    def make_cifar10(self, folder):
        """Black aeroplanes, in files that take no room on the disk."""
        folder.mkdir(parents=True)
        for name in CIFAR10_FILES:
            (folder / name).touch()
            os.truncate(folder / name, FILE_SIZE)

    def assert_refused_data(self, message, ranks=2):
        self.assert_refused(
            "ringlet: " + message,
            self.start("train", "--data", "cifar", "--out", "runs/new",
                       ranks=ranks))

    def test_missing_folder(self):
        self.assert_refused_data(
            "cannot read cifar/data_batch_1.bin: No such file or directory; "
            "expected a file of CIFAR-10's binary version")

    def test_missing_file(self):
        self.make_cifar10(self.folder / "cifar")
        (self.folder / "cifar/test_batch.bin").unlink()
        self.assert_refused_data(
            "cannot read cifar/test_batch.bin: No such file or directory; "
            "expected .*")

    def test_folder_for_a_file(self):
        self.make_cifar10(self.folder / "cifar")
        (self.folder / "cifar/data_batch_2.bin").unlink()
        (self.folder / "cifar/data_batch_2.bin").mkdir()
        self.assert_refused_data(
            "cannot read cifar/data_batch_2.bin: not a regular file; .*",
            ranks=0)

    def test_short_and_oversized_file(self):
        self.make_cifar10(self.folder / "cifar")
        for size in (FILE_SIZE - 1, FILE_SIZE + RECORD, 0):
            os.truncate(self.folder / "cifar/data_batch_5.bin", size)
            self.assert_refused_data(
                f"cifar/data_batch_5.bin has {size} bytes, expected 30730000 "
                r"\(CIFAR-10's binary version\)", ranks=2 if size else 0)

    def test_label_above_9(self):
        self.make_cifar10(self.folder / "cifar")
        with open(self.folder / "cifar/test_batch.bin", "r+b") as file:
            file.seek(9_999 * RECORD)
            file.write(b"\x0a")
        self.assert_refused_data(
            r"cifar/test_batch.bin has label 10 in record 9999 \(byte "
            r"30726927\), expected 0 to 9")

    def test_data_on_one_host_only(self):
        self.make_cifar10(self.folder / "host0/cifar")
        (self.folder / "host1").mkdir()
        one = [self.program, "train", "--data", "cifar"]
        self.assert_refused(
            "ringlet: rank 1: cannot read cifar/data_batch_1.bin: No such .*",
            self.start_command("mpirun", "-np", 1, "-wdir", "host0", *one,
                               ":", "-np", 1, "-wdir", "host1", *one))


class RunDirectoryTest(job.JobTest):
    def assert_refused_folder(self, out, message, ranks=2):
        # The largest model: what is wrong is found before it is made.
        self.assert_refused(
            f"ringlet: {out}: {message}",
            self.start("train", "--model", "resnet152", "--out", out,
                       ranks=ranks))

    def test_below_a_file(self):
        (self.folder / "file").touch()
        self.assert_refused_folder(
            "file/run",
            "cannot write there: Not a directory; name another run directory")

    def test_where_nothing_can_be_made(self):
        self.assert_refused_folder(
            "/proc/run", "cannot write there: No such file or directory; name "
            "another run directory")

    def test_parents_are_not_left(self):
        self.assert_refused_folder(
            "runs/" + 256 * "x", "cannot write there: File name too long; .*",
            ranks=0)

    def test_another_run(self):
        for name in ("config.json", "metrics.jsonl", "model.safetensors"):
            (self.folder / "old").mkdir()
            (self.folder / "old" / name).write_text("precious")
            self.assert_refused_folder(
                "old", rf"holds a run already \({name}\); name another run "
                "directory or remove this one", ranks=0)
            self.assertEqual((self.folder / "old" / name).read_text(),
                             "precious")
            (self.folder / "old" / name).unlink()
            (self.folder / "old").rmdir()

    def test_full_disk(self):
        self.assert_refused(
            "ringlet: runs/new/.lock: cannot write: File too large",
            self.start("train", *QUICK, "--out", "runs/new", wrapper=[
                "sh", "-c", 'trap "" XFSZ; ulimit -f 0; exec "$0" "$@"']))


class InitialWeightsTest(job.JobTest):
    def assert_refused_weights(self, message, ranks=0):
        self.assert_refused(
            "ringlet: weights: " + message,
            self.start("train", *QUICK, "--init", "weights", "--out",
                       "runs/new", ranks=ranks))

    def test_missing_file(self):
        self.assert_refused_weights("cannot read: No such file or directory",
                                    ranks=2)

    def test_other_files(self):
        for content, message in (
                (b"short", "5 bytes, expected at least 8"),
                (b"a text, not weights",
                 r"header length \d+, expected at most 11"),
                (b"\x02" + bytes(7) + b"{}",
                 "no tensor 'conv1.weight', which the model has")):
            (self.folder / "weights").write_bytes(content)
            self.assert_refused_weights(message)


if __name__ == "__main__":
    job.main()
