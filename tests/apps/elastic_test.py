"""`ringlet launch --max-restarts`: what is started again, and what is not."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import job
from launch_test import wait_until

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
import faults  # noqa: E402

BATCH, STEPS = 16, 30
TOY = ["train", "--model", "resnet20", "--threads", 1]
ENDLESS = [*TOY, "--batch-size", BATCH, "--virtual-ranks", 4,
           "--checkpoint-steps", 5, "--steps", 100000, "--out", "run"]
NEW = [*ENDLESS[:-4], "--steps", STEPS]
KILLED = "a rank was ended by signal 9"
# What mpirun is called with, a line for each start; the first few end so.
PRETEND = ('printf "%s " "$@" >> calls; echo >> calls; '
           '[ $(wc -l < calls) -gt {} ] || {{ {}; }}')
HOSTS = "a slots=2\nb slots=2 max_slots=4  # behind the door\n\nc slots=2\n"


class ElasticTest(job.JobTest):
    def launch(self, *words, **how):
        return self.start_command(self.program, "launch", *words,
                                  own_group=True, **how)

    def finish(self, process, within=job.SECONDS_TO_HANG):
        """Status, and our own lines about restarts."""
        output, errors = process.communicate(timeout=within)
        return process.returncode, [
            line.removeprefix("ringlet: ") for line in errors.splitlines()
            if line.startswith(("ringlet: restart", "ringlet: no restart"))]

    def weights(self, run):
        return hashlib.sha256(
            (self.folder / run / "model.safetensors").read_bytes()).hexdigest()

    def undisturbed(self):
        self.run_job(*NEW, "--out", "whole")
        return self.weights("whole")

    def steps(self):
        metrics = self.folder / "run/metrics.jsonl"
        return metrics.read_text().count('"kind":"step"') if metrics.exists() else 0

    def ranks(self):
        """Process IDs of the ranks, in their order."""
        found = {}
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cwd").resolve() != self.folder.resolve():
                    continue
                for entry in (process / "environ").read_text().split("\0"):
                    if entry.startswith("OMPI_COMM_WORLD_RANK="):
                        found[int(entry.split("=")[1])] = int(process.name)
            except OSError:
                continue  # it has ended, or is somebody else's
        return [found[rank] for rank in sorted(found)]

    def pretend(self, body, agent, times):
        """An mpirun that does `body` at its first starts, and nothing then; and
        what asks hosts, with the host's name in $1."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        for name, text in (("mpirun", PRETEND.format(times, body)), ("ssh", agent)):
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}

    def calls(self):
        file = self.folder / "calls"
        calls = [line.split() for line in file.read_text().splitlines()]
        file.unlink()
        return calls

    def test_a_lost_rank_leaves_no_trace_in_the_weights(self):
        """Killed, or gone without a word."""
        expected = self.undisturbed()
        for kind, reason in (("kill", KILLED),
                             ("exit", "mpirun ended with status 1")):
            process = self.launch(
                "-np", 2, "--max-restarts", 3, "--", *NEW, "--out", kind,
                "--fault", f"rank=1,op=all_reduce#60,kind={kind}")
            status, lines = self.finish(process)
            self.assertEqual(status, 0)
            self.assertEqual(len(lines), 1, lines)
            self.assertRegex(
                lines[0], rf"^restart 1 of 3: {reason}; goes on from step "
                          r"(5|10|15) on 2 ranks$")
            self.assertEqual(self.weights(kind), expected)

    def test_before_the_first_checkpoint_it_starts_anew(self):
        expected = self.undisturbed()
        process = self.launch(
            "-np", 2, "--max-restarts", 1, "--", *TOY, "--batch-per-rank",
            BATCH // 2, "--virtual-ranks", 4, "--steps", STEPS, "--out", "run",
            # Every attempt comes to that call, but a fault happens once.
            "--fault", "rank=0,op=all_reduce#9,kind=kill")
        self.assertEqual(self.finish(process), (0, [
            f"restart 1 of 1: {KILLED}; goes on from where it began on 2 "
            "ranks"]))
        self.assertEqual(self.weights("run"), expected)
        steps = (self.folder / "run/metrics.jsonl").read_text()
        self.assertEqual(steps.count('"kind":"step"'), STEPS)

    def test_killed_again_and_again_until_no_restart_is_left(self):
        process = self.launch(
            "-np", 2, "--max-restarts", 2, "--", *ENDLESS)
        seen = set()
        for attempt in range(3):
            wait_until(lambda: len(set(self.ranks()) - seen) == 2 and
                       self.steps() > 6)
            seen.update(self.ranks())
            # Of this attempt, so that each has made a step of its own.
            before = self.steps()
            wait_until(lambda: self.steps() not in (before, 0))
            os.kill(self.ranks()[attempt % 2], signal.SIGKILL)
        status, lines = self.finish(process)
        self.assertEqual(status, 137)
        self.assertEqual(len(lines), 3, lines)
        for number in (1, 2):
            self.assertRegex(lines[number - 1],
                             rf"^restart {number} of 2: {KILLED}; goes on from "
                             r"step \d+ on 2 ranks$")
        self.assertEqual(lines[2], "no restart after 2 of --max-restarts 2: "
                                   + KILLED)

    def test_a_hang_is_met_with_a_restart(self):
        process = self.launch(
            "-np", 2, "--max-restarts", 1, "--", *NEW, "--out", "run",
            "--timeout", 10, "--fault", "rank=1,op=all_reduce#60,kind=stop")
        status, lines = self.finish(process)
        self.assertEqual(status, 0)
        self.assertRegex(lines[0], r"^restart 1 of 1: a rank hung or was lost; "
                                   r"goes on from step \d+ on 2 ranks$")

    def test_errors_of_the_user_are_not_tried_again(self):
        for words, status in (
                ([*NEW, "--data", "nowhere"], 1),
                ([*NEW, "--fault", "rank=1,op=all_reduce#40,kind=count"], 87),
                ([*NEW, "--fault", "rank=1,op=all_reduce#40,kind=throw"], 1)):
            with self.subTest(words):
                shutil.rmtree(self.folder / "run", ignore_errors=True)
                process = self.launch("-np", 2, "--max-restarts", 3, "--",
                                      *words, "--out", "run")
                self.assertEqual(self.finish(process), (status, []))
        # What mpirun itself refuses.
        process = self.launch("-np", 2, "--no-such-option", "--max-restarts",
                              3, "--", *NEW, "--out", "new")
        status, lines = self.finish(process)
        self.assertNotEqual(status, 0)
        self.assertEqual(lines, [])

    def test_a_signal_ends_it_without_a_restart(self):
        process = self.launch("-np", 2, "--max-restarts", 3, "--", *ENDLESS)
        wait_until(lambda: self.steps() > 2)
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(self.finish(process), (0, []))
        self.assertIn(self.steps(), [
            int(path.name[5:])
            for path in (self.folder / "run/checkpoints").iterdir()])

    def test_bad_calls(self):
        (self.folder / "hosts").write_text("a slots=2\nb\n")
        (self.folder / "twice").write_text("a slots=2 # one\na slots=1\n")
        (self.folder / "none").write_text("# none\n")
        for message, words in (
                (r"launch: --max-restarts '0': expected a number from 1 to \d+",
                 ["-np", 2, "--max-restarts", 0, "--", *TOY]),
                ("launch: --max-restarts 'many': expected .+",
                 ["-np", 2, "--max-restarts=many", "--", *TOY]),
                ("launch: --min-ranks is for restarts: .+",
                 ["-np", 2, "--min-ranks", 2, "--", *TOY]),
                ("launch: --min-ranks 3: expected at most the 2 of -np",
                 ["-np", 2, "--min-ranks", 3, "--max-restarts", 1, "--", *TOY]),
                ("launch: -np '': expected the number of ranks .+",
                 ["--max-restarts", 1, "--", *TOY]),
                ("launch: --max-restarts with verify: expected train, .+",
                 ["-np", 2, "--max-restarts", 1, "--", "verify", "run"]),
                ("--hostfile hosts:2: 'b': expected NAME slots=N, N from 1 to "
                 r"\d+", ["-np", 2, "--hostfile", "hosts", "--max-restarts", 1,
                          "--", *TOY]),
                ("--hostfile twice:2: 'a': expected each host once",
                 ["-np", 2, "--hostfile", "twice", "--max-restarts", 1, "--",
                  *TOY]),
                ("--hostfile none: no host, .+",
                 ["-np", 2, "--hostfile", "none", "--max-restarts", 1, "--",
                  *TOY]),
                ("--hostfile nowhere: cannot open: .+",
                 ["-np", 2, "--hostfile", "nowhere", "--max-restarts", 1, "--",
                  *TOY]),
                ("--virtual-ranks 4: expected a power of two and a multiple .+",
                 ["-np", 3, "--max-restarts", 1, "--", *NEW])):
            self.assert_refused("ringlet: " + message, self.launch(*words))

    def start_on_hosts(self, agent, *options, body="kill -9 $$", hosts=HOSTS,
                       ranks=6, training=(), times=1):
        (self.folder / "hosts").write_text(hosts)
        return self.launch(
            "-np", ranks, "--hostfile", "hosts", "--max-restarts", 2, *options,
            "--", *TOY, *training, "--out", "run", "--fault",
            "rank=1,op=all_reduce#9,kind=kill",
            environment=self.pretend(body, agent, times))

    def test_hosts_that_do_not_answer_are_left_out(self):
        status, lines = self.finish(self.start_on_hosts(
            '[ "$1 $2" != "b true" ]'))
        self.assertEqual((status, lines), (0, [
            f"restart 1 of 2: {KILLED}, and there is no answer from b; goes on "
            "from where it began on 4 ranks of a, c"]))
        first, second = self.calls()
        self.assertEqual(first[:4], ["-np", "6", "--hostfile", "hosts"])
        self.assertEqual(second[:4], ["-np", "4", "--host", "a:2,c:2"])
        self.assertIn("--fault", first)
        self.assertEqual(second[-6:], [*second[-6:-4], "--out", "run",
                                       "--batch-size", "32"])
        # All answer: as before. And a host that never says anything.
        self.assertEqual(self.finish(self.start_on_hosts("exit 0"))[1], [
            f"restart 1 of 2: {KILLED}; goes on from where it began on 6 ranks "
            "of a, b, c"])
        self.assertEqual(self.calls()[1][:4], ["-np", "6", "--hostfile",
                                               "hosts"])
        self.assertIn("no answer from c;", self.finish(self.start_on_hosts(
            '[ "$1" != c ] || sleep 100'))[1][0])

    def test_ranks_are_as_many_as_the_batch_can_be_had_on(self):
        # There is room for 3, on which 4 virtual ranks cannot be.
        status, lines = self.finish(self.start_on_hosts(
            '[ "$1" != b ]', ranks=4, hosts="a slots=2\nb slots=2\nc slots=1\n",
            training=("--batch-size", BATCH, "--virtual-ranks", 4)))
        self.assertEqual((status, lines), (0, [
            f"restart 1 of 2: {KILLED}, and there is no answer from b; goes on "
            "from where it began on 2 ranks of a, c"]))
        self.assertEqual(self.calls()[1][:4], ["-np", "2", "--host", "a:2,c:1"])

    def test_a_host_that_answers_again_is_taken_again(self):
        # After the first end b is away, after the second it is not.
        status, lines = self.finish(self.start_on_hosts(
            '[ "$1" != b ] || [ $(wc -l < calls) -gt 1 ]', times=2))
        self.assertEqual((status, len(lines)), (0, 2), lines)
        self.assertTrue(lines[1].endswith("on 6 ranks of a, b, c"), lines)
        self.assertEqual([call[:4] for call in self.calls()], [
            ["-np", "6", "--hostfile", "hosts"],
            ["-np", "4", "--host", "a:2,c:2"],
            ["-np", "6", "--hostfile", "hosts"]])

    def test_this_machine_is_there_whatever_it_is_called(self):
        # Open MPI asks nobody for it either; the second is nobody's address.
        status, lines = self.finish(self.start_on_hosts(
            "exit 1", hosts="127.0.0.1 slots=6\n192.0.2.1 slots=2\n"))
        self.assertEqual((status, lines), (0, [
            f"restart 1 of 2: {KILLED}, and there is no answer from 192.0.2.1; "
            "goes on from where it began on 6 ranks of 127.0.0.1"]))

    def test_a_launcher_that_fails_is_tried_again_where_a_host_is_missing(self):
        for agent, restarts in (('[ "$1" != b ]', 1), ("exit 0", 0)):
            status, lines = self.finish(self.start_on_hosts(
                agent, body="exit 205"))
            self.assertEqual((status, len(lines)),
                             (0 if restarts else 205, restarts), lines)
            self.assertEqual(len(self.calls()), 1 + restarts)

    def test_an_error_is_told_also_where_mpirun_tags_lines(self):
        begun = "mkdir run; echo > run/config.json; "
        for line, restarts in (("[1,0]<stderr>:ringlet: no data", 0),
                               ("[1,0]<stderr>:no word of ours", 1),
                               ("ringlet: warning: something", 1),
                               ("ringlet: a rank is gone: rank 1", 1)):
            shutil.rmtree(self.folder / "run", ignore_errors=True)
            status, lines = self.finish(self.start_on_hosts(
                "exit 0", body=f'{begun} echo "{line}" >&2; exit 1'))
            self.assertEqual((status, len(lines)),
                             (0 if restarts else 1, restarts), lines)
            self.assertEqual(len(self.calls()), 1 + restarts)

    def test_what_had_finished_is_left_as_it_is(self):
        status, lines = self.finish(self.start_on_hosts(
            "exit 0", body="mkdir run; echo > run/config.json; "
            "echo > run/model.safetensors; kill -9 $$"))
        self.assertEqual((status, lines), (137, [
            f"no restart: {KILLED}, but run/model.safetensors was written "
            "before that"]))
        self.assertTrue((self.folder / "run/config.json").exists())

    def test_who_asked_for_the_end_gets_no_restart(self):
        process = self.start_on_hosts(
            "exit 0", body="trap \"kill -9 $$\" USR2; echo > ready; "
            "while true; do sleep 0.1; done")
        wait_until((self.folder / "ready").exists)
        process.send_signal(signal.SIGUSR2)
        self.assertEqual(self.finish(process), (137, []))

    def test_too_few_hosts_are_named(self):
        status, lines = self.finish(self.start_on_hosts(
            '[ "$1" = a ]', "--min-ranks", 3))
        self.assertEqual((status, lines), (137, [
            f"no restart: {KILLED}, and there is no answer from b, c; expected "
            "at least --min-ranks 3: there is room for 2 on a"]))

    def test_a_lost_host_leaves_no_trace_in_the_weights(self):
        reason = faults.no_cluster()
        if reason:
            self.skipTest(reason)
        expected = self.undisturbed()
        script = (
            '"$@" & job=$!; until grep -q \'"step":12,\' run/metrics.jsonl '
            "2> /dev/null || ! kill -0 $job; do sleep 0.05; done; "
            "cluster-lose h1; wait $job")
        process = self.start_command(
            job.ROOT / "bench/cluster/cluster", "--bare", "--hosts", 4, "--",
            "sh", "-c", script, "sh", "sh", "-c",
            'exec "$0" launch -np 4 --hostfile "$CLUSTER_HOSTFILE" '
            '--max-restarts 1 --min-ranks 2 -- "$@"', self.program,
            *NEW, "--out", "run", "--timeout", 10)
        # It takes 10 s to be missed, and as long to give up mpirun.
        status, lines = self.finish(process, 3 * job.SECONDS_TO_HANG)
        self.assertEqual(status, 0)
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(
            lines[0], r"^restart 1 of 1: .+, and there is no answer from h1; "
            r"goes on from step \d+ on 2 ranks of h0, h2, h3$")
        self.assertEqual(self.weights("run"), expected)


if __name__ == "__main__":
    job.main()
