"""Every fault ends the job in time, with its status, and with a message that
names the rank; without the check and without the watchdog it does not."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import faults  # noqa: E402

SECONDS_TO_CUT = 8
LONE, TOGETHER = faults.CLUSTERS


class FaultTest(unittest.TestCase):
    build = None  # where bin/fault_loop is

    def check(self, backend, kind, place=None):
        with self.subTest(f"{backend}, {kind}, {place}"):
            launch = faults.CLUSTERS[place] if place else faults.mpirun
            outcome = faults.run_ours(backend, kind, self.build, launch=launch)
            alone = place == LONE
            self.assertEqual(faults.failing(kind, outcome, alone), "",
                             outcome.errors)
            return outcome

    def test_faults_of_all_kinds(self):
        for kind in faults.FAULTS:
            self.check("auto", kind)

    def test_back_ends(self):
        for backend in ("ring", "mpi"):
            for kind in ("count", "extra", "stop", "kill"):
                self.check(backend, kind)

    def test_across_hosts(self):
        reason = faults.no_cluster()
        if reason:
            self.skipTest(reason)
        for backend, kind, place in (
                ("auto", "count", LONE), ("ring", "skip", LONE),
                ("mpi", "kill", LONE), ("hierarchical", "dtype", TOGETHER),
                ("hierarchical", "kill", TOGETHER), ("mpi", "stop", TOGETHER)):
            self.check(backend, kind, place)

    def test_what_is_known_of_a_rank_on_another_host(self):
        reason = faults.no_cluster()
        if reason:
            self.skipTest(reason)
        left = (rf"ago it left call \d+, all_reduce of 10000 f32, sum, bucket 1 "
                rf"\(step {faults.STEP - 1}\)")
        self.assertRegex(
            self.check("ring", "lost", LONE).message,
            rf"hang: rank 0 has waited 3\.\d s in call \d+, .* for rank 1, "
            rf"which has not come to it: process \d+ on h1 runs; 3\.\d s {left}")
        self.assertRegex(
            self.check("ring", "stop", LONE).message,
            r"for rank 1, of which nothing has been heard for \d\.\d s: process "
            r"\d+ on h1; it has come to all calls before; no other is missing")
        outcome = self.check("ring", "lost", TOGETHER)
        self.assertRegex(
            outcome.card,
            r"ranks 0, 2-3 +entered 3\.\d s before; not left\n"
            r" +rank 1 +not there\n")
        self.assertRegex(outcome.card, r"  3   process \d+ on h1: in call ")

    def test_the_card_names_calls_and_steps(self):
        outcome = faults.run_ours("ring", "lost", self.build)
        step = faults.STEP
        self.assertRegex(
            outcome.card,
            rf"verdict   hang: rank 0 has waited 3\.\d s in call \d+, "
            rf"all_reduce of 262144 f32, sum, bucket 0 \(step {step}\) for rank "
            rf"1, which has not come to it: process \d+ on \S+ runs; 3\.\d s "
            rf"ago it left call \d+, all_reduce of 10000 f32, sum, bucket 1 "
            rf"\(step {step - 1}\)\ntry       where it is, says: gdb -p \d+")
        self.assertRegex(outcome.card, r"  1   process \d+ on \S+: left call ")
        self.assertRegex(
            outcome.card,
            rf"bucket 0 \(step {step}\)\n +ranks 0, 2 +entered 3\.\d s before; "
            rf"not left\n +rank 1 +not there\n")

    def test_what_is_lost_between_ranks(self):
        job = faults.Job([(faults.mpirun(
            self.build / "bin" / "fault_loop", "ring", "--timeout", 2,
            "--fault", "rank=1,op=all_reduce#9,kind=lost,message=1"), {})])
        outcome = job.outcome()
        self.assertEqual(outcome.status, faults.HANG)
        self.assertRegex(outcome.message,
                         r"hang: rank 0 has waited 2\.\d s in call 9, .*; all "
                         r"ranks are in it: .*rank 2 for rank 1")

    def test_a_wrong_bit_is_seen_by_who_checks_sums(self):
        for message in ("", ",message=1"):
            job = faults.Job([(faults.mpirun(
                self.build / "bin" / "fault_loop", "ring", "--fault",
                f"rank=1,op=all_reduce#9,kind=flip{message}"), {})])
            self.assertEqual(job.outcome().status, faults.WRONG_SUM)

    def assert_not_found(self, kind, options):
        cut, faults.CUT = faults.CUT, SECONDS_TO_CUT
        try:
            for backend in ("auto", "ring", "mpi"):
                if backend == "auto" and "--no-check" in options:
                    continue  # its flags carry the calls anyway
                with self.subTest(f"{backend}, {kind}"):
                    outcome = faults.run_ours(backend, kind, self.build,
                                              options)
                    self.assertNotEqual(faults.failing(kind, outcome), "")
        finally:
            faults.CUT = cut

    def test_without_the_check_these_tests_fail(self):
        self.assert_not_found("redop", ["--no-check"])
        self.assert_not_found("count", ["--no-check"])

    def test_without_the_watchdog_these_tests_fail(self):
        self.assert_not_found("stop", ["--timeout", 0])


if __name__ == "__main__":
    FaultTest.build = pathlib.Path(sys.argv.pop(1)).resolve().parents[1]
    unittest.main()
