"""ringlet verify and ringlet diff: what a run's hashes tell."""

import json
import shutil
import struct

import job

SHORT = ["train", "--model", "resnet20", "--threads", 1, "--schedule",
         "constant"]
TOY = [*SHORT, "--steps", 12]
EIGHT = ["--batch-size", 8]
PART = "they part in step "


def fnv1a(value, data):
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return value


def rewrite(path, edit):
    """The steps for which edit(step, shards, record) holds, as it left them."""
    line, _, data = path.read_bytes().partition(b"\n")
    out, chain = bytearray(line + b"\n"), 0
    while data:
        size, shards, number = struct.unpack_from("<IIQ", data)
        body = bytearray(data[4:size - 8])
        if edit(number, shards, body):
            chain = fnv1a(chain, body)
            out += struct.pack("<I", size) + body + struct.pack("<Q", chain)
        data = data[size:]
    path.write_bytes(out)


def change(path, step, places):
    """Other hashes of a step: places(shards) are those of bytes to change."""
    def edit(number, shards, body):
        for place in places(shards) if number == step else ():
            body[place] ^= 1
        return True
    rewrite(path, edit)


# Of a record: shards, step, data, loss and norm; then a loss and a hash each.
DATA, FIRST_SHARD = 4 + 8, 4 + 4 * 8


def change_shard(path, step, shard):
    """Another hash of a shard's gradients, and of the second parameter's."""
    change(path, step, lambda shards: (FIRST_SHARD + 16 * shard + 8,
                                       FIRST_SHARD + 16 * shards + 4))


class VerifyTest(job.JobTest):
    def status(self, *arguments):
        """What `ringlet arguments...` prints, and its status."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=job.SECONDS_TO_HANG)
        self.assertEqual(errors, "")
        return output, process.returncode

    def change_option(self, run, **options):
        path = self.folder / run / "config.json"
        config = json.loads(path.read_text())
        config["options"].update(options)
        path.write_text(json.dumps(config))

    def test_the_same_bits_in_one_process(self):
        how = ([], ["--comm", "ordered"], ["--virtual-ranks", 8])
        for i, options in enumerate(how):
            run = f"run{i}"
            self.run_job(*TOY, *EIGHT, *options, "--out", run, ranks=2,
                         environment={"OMP_NUM_THREADS": "1"})
            self.assertEqual(
                self.status("verify", run),
                ("verified: 10 steps of 2 rank(s) in one process have the same "
                 "pictures, gradients and weights, to the bit\n", 0))

    def test_another_order_of_sums_is_near(self):
        self.run_job(*TOY, "--batch-size", 9, "--comm", "ring", "--out", "run",
                     ranks=3)
        output, status = self.status("verify", "run", "--steps", 5)
        self.assertEqual(status, 0)
        self.assertRegex(output, r"\Averified: the bits part in step 1, as "
                         r"sums in another order do:\n  data       the same\n"
                         r"[\s\S]+difference of a loss in 5 steps is "
                         r"\S+ of it, within 1e-03\n\Z")
        self.assertNotIn("first on", output)
        # Another rate is not another order.
        self.change_option("run", lr=0.5)
        output, status = self.status("verify", "run", "--steps", 5)
        self.assertEqual(status, 1)
        self.assertIn("NOT verified: the bits part in step 1:", output)
        self.assertIn("\n  data       the same\n", output)
        self.assertIn(", beyond 1e-03\n", output)

    def test_from_a_checkpoint(self):
        self.run_job(*TOY, *EIGHT, "--checkpoint-steps", 4, "--out", "run", ranks=2,
                     environment={"OMP_NUM_THREADS": "1"})
        output, status = self.status(
            "verify", "run", "--checkpoint", "run/checkpoints/step-8",
            "--steps", 4)
        self.assertEqual(status, 0)
        self.assertIn("verified: 4 steps of 2 rank(s)", output)

    def test_a_run_that_began_with_weights_and_was_resumed(self):
        self.run_job(*SHORT, *EIGHT, "--out", "weights", "--steps", 1)
        self.run_job(*SHORT, *EIGHT, "--out", "run", "--init", "weights",
                     "--steps", 4, "--checkpoint-steps", 4)
        self.run_job("train", "--resume", "run", "--steps", 8)
        output, status = self.status("verify", "run")
        self.assertEqual(status, 0, output)
        self.assertIn("verified: 8 steps of 1 rank(s)", output)
        self.assert_refused(
            "ringlet: --init run: expected none with --resume, .+",
            self.start("train", "--resume", "run", "--init", "run"))
        # They are not needed any more.
        shutil.rmtree(self.folder / "weights")
        self.run_job("train", "--resume", "run", "--steps", 9)

    def test_a_rank_of_a_run_that_had_other_ranks(self):
        self.run_job(*SHORT, *EIGHT, "--comm", "ring", "--steps", 4,
                     "--checkpoint-steps", 4, "--out", "run", ranks=4)
        self.run_job("train", "--resume", "run", "--steps", 6, ranks=2)
        shutil.copytree(self.folder / "run", self.folder / "other")
        change_shard(self.folder / "other/hashes.bin", step=2, shard=3)
        output, status = self.status("diff", "run", "other")
        self.assertIn("  first on   rank 3 (gradients)\n", output)

    def test_what_was_not_trained_so_is_not_verified(self):
        self.run_job(*TOY, *EIGHT, "--out", "run")
        # One rank adds in one order: near is not enough.
        for lr, bound in ((0.5, "beyond"), (0.00500001, "within")):
            self.change_option("run", lr=lr)
            output, status = self.status("verify", "run", "--steps", 3)
            self.assertEqual(status, 1)
            self.assertIn("NOT verified: the bits part in step 1:", output)
            self.assertIn("  gradients  the same\n", output)
            self.assertRegex(output, r"\n  weights    \d+ of 65 differ")
            self.assertIn(f", {bound} 1e-03\n", output)

    def test_other_pictures_are_not_verified(self):
        self.run_job(*TOY, "--batch-size", 9, "--out", "run", ranks=3)
        change(self.folder / "run/hashes.bin", 1, lambda shards: [DATA])
        output, status = self.status("verify", "run", "--steps", 1)
        self.assertEqual(status, 1)
        self.assertIn("NOT verified: ", output)
        self.assertIn("  data       other pictures, or another order\n", output)
        # Near is not enough.
        self.assertIn(", within 1e-03\n", output)

    def test_runs_that_are_the_same(self):
        for ranks in (1, 2):
            self.run_job(*TOY, *EIGHT, "--virtual-ranks", 2, "--out", ranks,
                         ranks=ranks)
        output, status = self.status("diff", 1, 2)
        self.assertEqual(status, 0)
        self.assertIn("  ranks                1                    2\n", output)
        self.assertIn("the same in all 12 steps that both have", output)

    def test_a_bit_that_was_flipped_on_the_way(self):
        run = [*TOY, *EIGHT, "--comm", "ring"]
        self.run_job(*run, "--out", "whole", ranks=2)
        process = self.start(
            *run, "--out", "flipped", "--fault",
            "rank=1,op=all_reduce#13,message=1,kind=flip", ranks=2)
        process.communicate(timeout=job.SECONDS_TO_HANG)
        output, status = self.status("diff", "whole", "flipped")
        self.assertEqual(status, 1)
        self.assertRegex(output, PART + r"2:\n  data       the same\n"
                         r"  loss       the same\n"
                         r"  gradients  1 of 65 differ, in backward's order "
                         r"first '\S+'\n  weights ")
        self.assertNotIn("first on", output)

    def test_a_rank_that_computes_something_else(self):
        self.run_job(*TOY, *EIGHT, "--virtual-ranks", 4, "--out", "run")
        shutil.copytree(self.folder / "run", self.folder / "other")
        change_shard(self.folder / "other/hashes.bin", step=7, shard=2)
        output, status = self.status("diff", "run", "other")
        self.assertEqual(status, 1)
        self.assertIn(PART + "7:\n", output)
        self.assertIn("in backward's order first 'fc.weight'\n", output)
        self.assertIn("  first on   virtual rank 2 (gradients)\n", output)

    def test_steps_without_hashes(self):
        """Which a GPU leaves between those with some."""
        self.run_job(*TOY, *EIGHT, "--checkpoint-steps", 4, "--out", "run")
        shutil.copytree(self.folder / "run", self.folder / "other")
        change_shard(self.folder / "other/hashes.bin", step=12, shard=0)
        last = ["--checkpoint", "other/checkpoints/step-8"]
        for kept, parted in (((1, 6, 11, 12), "step 12"),
                             ((1, 6, 12), "one of steps 7 to 12")):
            for run in ("run", "other"):
                rewrite(self.folder / run / "hashes.bin",
                        lambda step, *_: step in kept)
            for begin, command in (
                    (f"they part in {parted}:\n", ["diff", "run", "other"]),
                    (f"NOT verified: the bits part in {parted}:\n",
                     ["verify", "other"]),
                    ("NOT verified: the bits part in " +
                     ("step 12" if 11 in kept else "one of steps 9 to 12") +
                     ":\n", ["verify", "other", *last])):
                output, status = self.status(*command)
                self.assertEqual(status, 1)
                self.assertIn(begin, output)

    def test_what_cannot_be_compared(self):
        self.run_job(*TOY, *EIGHT, "--out", "run")
        self.run_job("train", "--steps", 1, "--batch-size", 2, "--model",
                     "resnet32", "--out", "other")
        for message, *arguments in (
                ("nowhere/config.json: cannot be read, expected the folder of "
                 "a run", "diff", "run", "nowhere"),
                ("run and other: of different models, resnet20 and resnet32: "
                 "expected the same", "diff", "run", "other"),
                ("RUN is required; see ringlet verify --help", "verify"),
                ("--steps: '0', expected a whole number from 1 to 1000000000; "
                 "see ringlet verify --help", "verify", "run", "--steps", 0)):
            self.assert_fails(self.start(*arguments), "ringlet: " + message)
        (self.folder / "run/hashes.bin").unlink()
        self.assert_fails(self.start("verify", "run"),
                          "ringlet: run/hashes.bin: cannot be read")

    def test_runs_that_were_rounded_or_joined(self):
        """What one process does otherwise is known, and then near."""
        joined = ["--batch-norm", "synchronised"]
        for ranks, options, to_the_bit in (
                (2, ["--comm", "ring", "--wire-dtype", "bf16"], False),
                (1, joined, True), (2, joined, False)):
            with self.subTest(options, ranks=ranks):
                shutil.rmtree(self.folder / "run", ignore_errors=True)
                self.run_job(*TOY, *EIGHT, *options, "--out", "run",
                             ranks=ranks)
                output, status = self.status("verify", "run")
                self.assertEqual(status, 0, output)
                self.assertEqual("to the bit" in output, to_the_bit, output)
        self.change_option("run", accumulate=2)
        self.assert_refused(
            "ringlet: run: --batch-norm synchronised with --accumulate 2 on 2 "
            "ranks: .+", self.start("verify", "run"))


if __name__ == "__main__":
    job.main()
