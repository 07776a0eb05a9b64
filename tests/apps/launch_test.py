"""`ringlet launch`: what it starts, what signals do, and what is said last."""

import os
import pathlib
import pty
import signal
import subprocess
import time

import job

TOY = ["train", "--model", "resnet20", "--batch-size", 4, "--threads", 1,
       "--out", "run"]
SECONDS_TO_END = 5


def wait_until(condition, seconds=job.SECONDS_TO_HANG):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not so after {seconds} seconds")
        time.sleep(0.02)


def processes_in(folder):
    """The processes, but for this one, that work in a folder."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


class LaunchTest(job.JobTest):
    def launch(self, *words, **how):
        """`ringlet launch words`, in a session and group of its own."""
        return self.start_command(self.program, "launch", *words,
                                  own_group=True, **how)

    def pretend_mpirun(self, body):
        file = self.folder / "bin" / "mpirun"
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\n" + body + "\n")
        file.chmod(0o755)
        return {"PATH": f"{file.parent}{os.pathsep}{os.environ['PATH']}"}

    def steps(self):
        metrics = self.folder / "run/metrics.jsonl"
        return metrics.read_text().count('"kind":"step"') if metrics.exists() else 0

    def checkpoints(self):
        return sorted(int(path.name[5:]) for path in
                      (self.folder / "run/checkpoints").glob("step-*")
                      if path.name[5:].isdigit())

    def start_training(self, *options):
        process = self.launch("-np", 2, "--", *TOY, "--steps", 100000, *options)
        wait_until(lambda: self.steps() > 2 or process.poll() is not None)
        return process

    def assert_all_gone(self):
        wait_until(lambda: processes_in(self.folder) == [], SECONDS_TO_END)

    def test_what_it_starts(self):
        path = self.pretend_mpirun(
            'printf "<%s>" "$@"; echo; echo "$OMPI_ALLOW_RUN_AS_ROOT '
            '$OMPI_MCA_hwloc_base_binding_policy ${RINGLET_TERMINAL:-none}"; '
            'cat; exit 7')
        process = self.launch("-np", 3, "--map-by", "node", "--", "train",
                              "--out", "a folder", "--", "x", environment={
                                  **path,
                                  "OMPI_MCA_hwloc_base_binding_policy": "core"})
        output, errors = process.communicate(timeout=10)
        self.assertEqual(output.splitlines(), [
            f"<-np><3><--map-by><node><{os.path.realpath(self.program)}><train>"
            "<--out><a folder><--><x>", "1 core none"])
        self.assertEqual((process.returncode, errors), (7, ""))

    def test_width_of_the_terminal(self):
        path = self.pretend_mpirun('echo "width $RINGLET_TERMINAL"')
        for columns, expected in ((132, "width 132"), (0, "width 80")):
            try:
                ours, terminal = pty.openpty()
            except OSError as error:
                self.skipTest(f"no terminal to be had here: {error}")
            subprocess.run(["stty", "cols", str(columns)], stdin=terminal,
                           check=True)
            subprocess.run([self.program, "launch", "--", "train"],
                           stdout=terminal, timeout=10,
                           env={**os.environ, **path})
            os.close(terminal)
            self.assertIn(expected, os.read(ours, 10000).decode())
            os.close(ours)

    def test_our_message_comes_last(self):
        path = self.pretend_mpirun(
            'echo "ringlet: first" >&2; echo "mpirun: noise" >&2; '
            'printf "unfinished" >&2; exit 3')
        process = self.launch("--", "train", environment=path)
        _, errors = process.communicate(timeout=10)
        self.assertEqual(errors, "mpirun: noise\nunfinishedringlet: first\n")
        self.assertEqual(process.returncode, 3)
        process = self.launch("-np", 2, "--", "train", "--data", "nowhere")
        _, errors = process.communicate(timeout=10)
        self.assertIn("nowhere", errors.splitlines()[-1])
        self.assertTrue(errors.splitlines()[-1].startswith("ringlet: "))
        self.assertNotEqual(process.returncode, 0)

    def test_warnings_come_at_once(self):
        path = self.pretend_mpirun(
            'echo "ringlet: warning: look" >&2; exec sleep 100')
        process = self.launch("--", "train", environment=path)
        self.assertEqual(process.stderr.readline(), "ringlet: warning: look\n")
        process.kill()
        process.wait()
        process.stderr.close()

    def test_bad_calls(self):
        for words in ([], ["-np", 2], ["-np", 2, "--"], ["train"]):
            self.assert_refused(
                "ringlet: launch: expected '-- COMMAND' after the options of "
                "mpirun, .+", self.launch(*words))
        empty = self.folder / "empty"
        empty.mkdir()
        process = subprocess.run(
            [self.program, "launch", "--", "train"], env={"PATH": str(empty)},
            capture_output=True, text=True, timeout=10)
        self.assertEqual(process.returncode, 127)
        self.assertEqual(process.stderr, "ringlet: cannot start mpirun: "
                                         "No such file or directory\n")

    def test_one_signal_saves_and_ends(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                process = self.start_training()
                os.killpg(process.pid, number)  # as Ctrl-C on a terminal
                output, errors = process.communicate(timeout=30)
                self.assertEqual(
                    (process.returncode, errors),
                    (0, "\nringlet: saving after this step; once more ends it "
                        "at once\n"))
                step = self.checkpoints()[-1]
                self.assertEqual(step, self.steps())
                self.assertIn(f"stopped after step {step}, as asked; to go on: "
                              "ringlet train --resume run\n", output)
                self.assert_all_gone()
                self.run_job("train", "--resume", "run", "--steps", step + 2,
                             ranks=2)
                self.assertEqual(self.steps(), step + 2)
                subprocess.run(["rm", "-r", self.folder / "run"], check=True)

    def test_a_stop_that_cannot_save_is_an_error(self):
        process = self.start_training()
        (self.folder / "run/checkpoints").write_text("in the way")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 1)
        self.assertRegex(errors.splitlines()[-1], "ringlet: stopped, as asked, "
                         r"but no checkpoint of step \d+ .+")

    def test_nohup(self):
        process = self.start_command(
            "nohup", self.program, "launch", "-np", 2, "--", *TOY, "--steps",
            100000)
        wait_until(lambda: self.steps() > 2)
        process.send_signal(signal.SIGHUP)
        before = self.steps()
        wait_until(lambda: self.steps() > before + 5)
        process.send_signal(signal.SIGUSR2)  # passed on
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.checkpoints(), [self.steps()])

    def test_one_process_without_mpirun(self):
        process = self.start(*TOY, "--steps", 100000)
        wait_until(lambda: self.steps() > 2)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0, errors)
        self.assertIn(f"stopped after step {self.steps()}", output)
        self.assertEqual(self.checkpoints(), [self.steps()])

    def test_a_second_signal_ends_at_once(self):
        process = self.start_training()
        # Ranks that do not come to the end of their step.
        ranks = [pid for pid in processes_in(self.folder)
                 if pathlib.Path(f"/proc/{pid}/comm").read_text() == "ringlet\n"
                 and pid != process.pid]
        self.assertEqual(len(ranks), 2)
        for rank in ranks:
            os.kill(rank, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS_TO_END)
        self.assertNotEqual(process.returncode, 0)
        self.assert_all_gone()

    def test_its_death_ends_the_job(self):
        process = self.start_training()
        process.kill()
        process.communicate(timeout=SECONDS_TO_END)
        self.assert_all_gone()

    def test_a_signal_to_mpirun_saves_and_goes_on(self):
        process = self.start_training("--checkpoint-epochs", 0)
        self.assertEqual(self.checkpoints(), [])
        mpirun = [pid for pid in processes_in(self.folder) if pathlib.Path(
            f"/proc/{pid}/comm").read_text() == "mpirun\n"]
        self.assertEqual(len(mpirun), 1)
        os.kill(mpirun[0], signal.SIGUSR1)
        wait_until(self.checkpoints)
        saved = self.checkpoints()[-1]
        wait_until(lambda: self.steps() > saved + 2)
        self.assertIsNone(process.poll())
        self.assertEqual(self.checkpoints(), [saved])


if __name__ == "__main__":
    job.main()
