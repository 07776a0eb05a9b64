"""`ringlet train --trace`: what is in the file, and that training does not
notice."""

import json

import job

PARAMETERS = 272474  # of resnet20
PHASES = ("data", "forward", "backward", "communication", "optimizer")
OPTIONS = ["train", "--model", "resnet20", "--batch-size", 6, "--threads", 1,
           "--bucket-mb", 0.1]


class TraceTest(job.JobTest):
    def trace(self, *options, out="run", **how):
        output = self.run_job(*OPTIONS, "--trace", "t.json", "--out", out,
                              *options, **how)
        document = json.loads((self.folder / "t.json").read_text())
        events = [e for e in document["traceEvents"] if e["ph"] == "X"]
        self.assertIn(f"trace     t.json: {len(events)} events", output)
        return document, events, output

    @staticmethod
    def steps(events):
        return {e["args"]["training_step"] for e in events}

    def test_three_steps_of_two_ranks(self):
        ranks = 2
        document, events, output = self.trace("--steps", 6, "--comm", "ring",
                                              ranks=ranks)
        self.assertEqual(self.steps(events), {3, 4, 5})
        buckets = {e["args"]["bucket"] for e in events} - {-1}
        self.assertGreater(len(buckets), 1)
        self.assertIn(f"in {len(buckets)} buckets", output)
        # 2 (N-1)/N of the gradients; the losses are no bucket.
        for rank in range(ranks):
            sent = sum(e["args"]["bytes"] for e in events
                       if e["cat"] == "send" and e["pid"] == rank
                       and e["args"]["bucket"] >= 0)
            self.assertAlmostEqual(
                sent / (3 * 4 * PARAMETERS), 2 * (ranks - 1) / ranks, places=4)
        other = document["otherData"]
        self.assertEqual(other["unpaired_messages"], 0)
        for rank in other["ranks"]:
            self.assertEqual(rank["dropped"], 0)
            # When the communicator was made, and at the end.
            self.assertEqual(len(rank["clock"]), 2)
            self.assertIn("all-gather", rank["ledger"])
        self.assertGreater(other["ranks"][1]["clock"][0]["error_ns"], 0)

    def test_training_is_the_same(self):
        self.trace("--steps", 3, ranks=2)
        self.run_job(*OPTIONS, "--steps", 3, "--out", "other", ranks=2)
        weights = [(self.folder / run / "model.safetensors").read_bytes()
                   for run in ("run", "other")]
        self.assertEqual(*weights)

    def test_chosen_steps_and_algorithm(self):
        _, events, _ = self.trace("--steps", 4, "--trace-steps", "2:2",
                                  "--comm", "tree", ranks=3)
        self.assertEqual(self.steps(events), {2})
        self.assertEqual({e["args"]["phase"] for e in events
                          if e["cat"] == "send"}, {"reduce", "broadcast"})

    def test_ranks_that_share_memory_send_nothing(self):
        document, events, _ = self.trace("--steps", 3, ranks=2)
        kinds = {e["cat"] for e in events if e["args"]["bucket"] >= 0}
        self.assertEqual(kinds, {"backward", "call", "reduce"})
        for rank in range(2):
            added = sum(e["args"]["bytes"] for e in events
                        if e["cat"] == "reduce" and e["pid"] == rank
                        and e["args"]["bucket"] >= 0)
            # Of the other rank's gradients, in one step.
            self.assertAlmostEqual(added / (4 * PARAMETERS), 0.5, places=2)
        for rank in document["otherData"]["ranks"]:
            self.assertIn("all-gather", rank["ledger"])

    def test_a_rank_alone_sends_nothing(self):
        _, events, _ = self.trace("--steps", 3)
        self.assertEqual({e["cat"] for e in events},
                         {*PHASES, "call", "evaluation"})

    def test_what_ranks_are_at(self):
        document, events, _ = self.trace("--steps", 4, "--accumulate", 2,
                                         "--checkpoint-steps", 4, ranks=2)
        lanes = {(e["pid"], e["args"]["name"]): e["tid"]
                 for e in document["traceEvents"]
                 if e["name"] == "thread_name"}
        lines = (self.folder / "run" / "metrics.jsonl").read_text()
        metrics = [json.loads(line) for line in lines.splitlines()]
        for rank in range(2):
            for phase in PHASES:
                parts = [e for e in events if e["pid"] == rank
                         and e["cat"] == phase]
                self.assertEqual({e["tid"] for e in parts},
                                 {lanes[rank, phase]})
                passes = {0, 1} if "ward" in phase else {0}
                self.assertEqual({e["args"]["pass"] for e in parts}, passes)
                if rank > 0:
                    continue
                # What metrics.jsonl says, which is rank 0's.
                for step in (3, 4):
                    seconds = sum(e["dur"] for e in parts
                                  if e["args"]["training_step"] == step) / 1e6
                    # An activity is within the time of its phase.
                    self.assertGreater(seconds, 0)
                    self.assertLessEqual(
                        seconds, metrics[step - 1]["time"][phase] + 1e-4)
        # All in all they take what the phases take.
        traced = sum(e["dur"] for e in events if e["pid"] == 0
                     and e["cat"] in PHASES
                     and e["args"]["training_step"] in (3, 4)) / 1e6
        taken = sum(metrics[step - 1]["time"][phase] for step in (3, 4)
                    for phase in PHASES)
        self.assertGreater(traced, 0.9 * taken)
        # Each bucket is complete before it is summed.
        for rank in range(2):
            for call in events:
                bucket = call["args"]["bucket"]
                if call["cat"] != "call" or call["pid"] != rank or bucket < 0:
                    continue
                (ready,) = [e for e in events if e["cat"] == "backward"
                            and e["pid"] == rank
                            and e["args"]["bucket"] == bucket
                            and e["args"]["training_step"] ==
                            call["args"]["training_step"]]
                self.assertEqual(ready["name"], f"backward, bucket {bucket}")
                self.assertLessEqual(ready["ts"] + ready["dur"], call["ts"])
        for kind, ranks in (("evaluation", [0, 1]), ("checkpoint", [0])):
            self.assertEqual([(e["pid"], e["args"]["training_step"])
                              for e in events if e["cat"] == kind],
                             [(rank, 4) for rank in ranks])

    def test_a_run_that_goes_on(self):
        self.run_job(*OPTIONS, "--steps", 2, "--checkpoint-steps", 2,
                     "--out", "run")
        output = self.run_job("train", "--resume", "run", "--steps", 6,
                              "--trace", "t.json")
        self.assertIn("trace     t.json: ", output)
        document = json.loads((self.folder / "t.json").read_text())
        self.assertEqual(
            self.steps(e for e in document["traceEvents"] if e["ph"] == "X"),
            {5, 6})

    def test_steps_that_do_not_come(self):
        _, events, output = self.trace("--steps", 2)
        self.assertEqual(events, [])
        self.assertIn("the run had none of the steps to trace", output)

    def test_what_cannot_be_traced(self):
        for arguments, message in (
                ("--trace none/t.json", "--trace none/t.json: expected a file "
                 "in a folder that there is"),
                ("--trace .", "--trace .: is a folder, expected a file"),
                ("--trace t --comm mpi", "--trace: 'mpi' sends nothing that "
                 "could be recorded: expected --comm auto, ring, .*"),
                ("--trace t --trace-steps 3", "--trace-steps: '3', expected "
                 "FIRST:LAST, 1 or more; .*"),
                ("--trace t --trace-steps 0:3", "--trace-steps: '0:3', .*"),
                ("--trace t --trace-steps 3:2", "--trace-steps: '3:2', .*"),
                ("--trace t --trace-steps 3:2x", "--trace-steps: '3:2x', .*"),
                ("--trace-steps 3:4", "--trace-steps requires --trace; .*")):
            with self.subTest(arguments):
                self.assert_refused("ringlet: " + message,
                                    self.start("train", *arguments.split()))

    def test_ranks_that_differ(self):
        one = ["-np", 1, self.program, "train"]
        self.assert_refused(
            r"ringlet: rank 1: the configuration is not the same on all ranks: "
            r"'\"trace\": \"\",' here, '\"trace\": \"t\",' on rank 0",
            self.start_command("mpirun", *one, "--trace", "t", ":", *one))


if __name__ == "__main__":
    job.main()
