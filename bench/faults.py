#!/usr/bin/env python3
"""Usage: bench/faults.py [--full] [--backends LIST] [--faults LIST] [--build DIR]

What faults do to a job: lets each of them happen on rank 1 of 3, with each back
end, with MPI_Allreduce alone and with PyTorch's Gloo (where python3-torch is
installed), and once more with the first back end on emulated hosts (where the
kernel has them: bench/cluster/cluster --help); prints the tables of
docs/errors.md. Fails where one of ours does not end as it should: in time, with
its status, naming the rank, and with nothing left.

--full       also stops a random rank at 20 random moments (the seed is printed)
"""
import argparse
import dataclasses
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
RANKS, GUILTY, STEP = 3, 1, 21
TIMEOUT = 3       # seconds that a rank waits for another
CUT = 15          # after which a job counts as one that hangs
SETTLE = 3        # in which what a job leaves behind may still vanish
SOON = 5          # within which an error must be there
HANG, MISMATCH = 86, 87
WRONG_SUM = 4     # exit status of the loops

MISMATCHES = {
    "count": "one element less",
    "dtype": "another type of the same size",
    "redop": "max instead of sum",
    "tag": "another bucket",
    "swap": "two calls in the other order",
    "skip": "one call too few",
    "extra": "one call too many",
}
DEATHS = {
    "kill": "kill -9",
    "segfault": "segmentation fault",
    "exit": "exits without MPI_Finalize",
    "throw": "uncaught exception",
}
HANGS = {
    "stop": "SIGSTOP",
    "lost": "never comes to the call",
}
SLOW = {"slow": "takes twice as long"}
FAULTS = {**MISMATCHES, **DEATHS, **HANGS, **SLOW}
OURS = ("auto", "shared", "ring", "mpi")
PEERS = ("Open MPI", "PyTorch/Gloo")

NOW = re.compile(r"rank \d+ has its fault now")


@dataclasses.dataclass
class Outcome:
    status: int       # None: cut off
    seconds: float    # from the fault to the end
    errors: str       # all that came on stderr but the fault's announcement
    processes: int    # left
    memory: int       # files left in /dev/shm

    @property
    def message(self):
        """Our own line, or the first that speaks of an error."""
        lines = self.errors.splitlines()
        ours = [line for line in lines if line.startswith("ringlet: ")]
        other = [line for line in lines
                 if re.search("rror|signal|exit", line)]
        return (ours or other or [""])[0]

    def names(self, rank):
        return re.search(rf"\brank {rank}\b", self.errors) is not None


def processes_with(mark):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if state != "Z" and mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass  # it has ended meanwhile, or is somebody else's
    return found


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)


class Job:
    """Processes that belong together, known by a variable in all of them."""

    def __init__(self, commands, environment=None, folder=None):
        self.mark = f"RINGLET_FAULT_JOB={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.memory = set(os.listdir("/dev/shm"))
        self.fault = None
        self.lines = []
        self.processes = [
            subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True, start_new_session=True,
                             env={**os.environ, **(environment or {}),
                                  **own, name: value})
            for command, own in commands]
        self.readers = [threading.Thread(target=self.read, args=(process,))
                        for process in self.processes]
        for reader in self.readers:
            reader.start()

    def read(self, process):
        for line in process.stderr:
            if NOW.search(line):
                self.fault = time.monotonic()
            else:
                self.lines.append(line)

    def outcome(self):
        began = time.monotonic()
        statuses = lambda: [p.poll() for p in self.processes]
        wait_until(lambda: any(statuses()) or None not in statuses(), CUT)
        end = time.monotonic()
        failed = [status for status in statuses() if status]
        status = failed[0] if failed else None if None in statuses() else 0
        if failed and len(self.processes) > 1:
            self.kill()
        if status is not None and status < 0:
            status = 128 - status
        if status is None:
            self.kill()
        wait_until(lambda: not processes_with(self.mark), SETTLE)
        left = len(processes_with(self.mark))
        self.kill()
        for process, reader in zip(self.processes, self.readers):
            reader.join()
            process.stderr.close()
            process.wait()
        memory = set(os.listdir("/dev/shm")) - self.memory
        if status is None:  # what the cut itself has left
            for name in memory:
                pathlib.Path("/dev/shm", name).unlink(missing_ok=True)
            memory = left = ()
            left = 0
        return Outcome(status, end - (self.fault or began),
                       "".join(self.lines), left, len(memory))

    def kill(self):
        for process in processes_with(self.mark):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass


def with_mpi(*command):
    return ["sh", "-c", '. "$0" && exec "$@"', str(ROOT / "scripts" / "env"),
            *map(str, command)]


def mpirun(*command):
    return with_mpi("mpirun", "-np", RANKS, *command)


def cluster(hosts, slots, *command):
    """mpirun on emulated hosts."""
    return with_mpi(ROOT / "bench" / "cluster" / "cluster", "--hosts", hosts,
                    "--slots", slots, "--rate", "10gbit", "--", *command)


# Where rank 1 is the only one of its host, and where rank 0 is on it too.
CLUSTERS = {"3 hosts of 1 rank": lambda *command: cluster(3, 1, *command),
            "2 hosts of 2 ranks": lambda *command: cluster(2, 2, *command)}


def no_cluster():
    """Why there are no emulated hosts; "" if there are."""
    attempt = subprocess.run(cluster(2, 1, "true"), capture_output=True,
                             text=True)
    return attempt.stderr.strip() if attempt.returncode == 77 else ""


def run_ours(backend, kind, build, options=(), launch=mpirun):
    """fault_loop with the fault, in the first call of STEP."""
    rank, call = GUILTY, 2 * STEP - 1
    with tempfile.TemporaryDirectory() as folder:
        command = [build / "bin" / "fault_loop", backend, "--run", "run",
                   "--timeout", TIMEOUT]
        if kind == "slow":
            command += ["--slow", rank, "--step-ms", 700, "--steps", 5]
        else:
            command += ["--fault", f"rank={rank},op=all_reduce#{call},"
                                   f"kind={kind}"]
        job = Job([(launch(*command, *options), {})], folder=folder)
        outcome = job.outcome()
        card = pathlib.Path(folder, "run", "crash.txt")
        outcome.card = card.read_text() if card.exists() else ""
        return outcome


def run_open_mpi(kind):
    program = ROOT / "build" / "mpi_faults"
    subprocess.run(["mpicc", "-O2", ROOT / "bench/peers/mpi_faults.c", "-o",
                    program], check=True)
    return Job([(mpirun(program, kind, GUILTY, STEP), {})]).outcome()


def run_torch(kind):
    """As torchrun runs it: the first rank that fails ends the others. (The one
    in Debian 12 does not start with its Python.)"""
    program = ROOT / "bench/peers/torch_faults.py"
    common = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(RANKS),
              "MASTER_PORT": str(random.randint(20000, 60000)),
              "FAULT_TIMEOUT": str(TIMEOUT)}
    return Job([([sys.executable, str(program), kind, str(GUILTY), str(STEP)],
                 {"RANK": str(rank)}) for rank in range(RANKS)],
               environment=common).outcome()


def failing(kind, outcome, alone=False):
    """Why one of ours has not ended as it should; "" if it has. Of the death of
    a rank that is `alone` on its host, mpirun's words will do."""
    expected = {**dict.fromkeys(MISMATCHES, MISMATCH),
                **dict.fromkeys(HANGS, HANG), "kill": 128 + signal.SIGKILL,
                "segfault": 128 + signal.SIGSEGV, "exit": 1, "throw": 1,
                "slow": 0}[kind]
    limit = (TIMEOUT if kind in HANGS else 0) + SOON
    reasons = []
    if outcome.status != expected:
        reasons.append(f"status {outcome.status}, expected {expected}")
    if kind != "slow" and outcome.seconds > limit:
        reasons.append(f"ended after {outcome.seconds:.1f} s, expected {limit}")
    told = outcome.errors if alone and kind in DEATHS else outcome.message
    mute = kind == "slow" or alone and kind in DEATHS
    if not mute and not told.startswith("ringlet: "):
        reasons.append("said nothing")
    if kind != "slow" and not re.search(rf"\brank {GUILTY}\b", told):
        reasons.append(f"does not name rank {GUILTY}")
    if kind in {**MISMATCHES, **HANGS} and not outcome.card:
        reasons.append("left no crash card")
    if kind == "slow" and outcome.errors:
        reasons.append("complained")
    if outcome.processes or outcome.memory:
        reasons.append(f"left {outcome.processes} processes and "
                       f"{outcome.memory} files in /dev/shm")
    return "; ".join(reasons)


def cell(outcome, rank=GUILTY):
    if outcome.status is None:
        return f"**hangs** (cut after {CUT} s)"
    text = ("goes on" if outcome.status == 0 else
            "**wrong sum**" if outcome.status == WRONG_SUM else
            "rank named" if outcome.names(rank) else "rank not named")
    if outcome.status:
        text += f", {outcome.seconds:.1f} s, {outcome.status}"
    if outcome.processes or outcome.memory:
        text += f", left {outcome.processes} processes, {outcome.memory} files"
    return text


def peers():
    found = [("Open MPI", run_open_mpi)]
    has_torch = subprocess.run([sys.executable, "-c", "import torch"],
                               stderr=subprocess.DEVNULL).returncode == 0
    if has_torch:
        found.append(("PyTorch/Gloo", run_torch))
    return found


def print_table(backends, kinds, build, others):
    failures, messages = [], {}
    print("| rank 1 of 3 | " + " | ".join(
        [*backends, *(name for name, _ in others)]) + " |")
    print("|---" * (1 + len(backends) + len(others)) + "|")
    for kind in kinds:
        cells = []
        for backend in backends:
            outcome = run_ours(backend, kind, build)
            reason = failing(kind, outcome)
            if reason:
                failures.append(f"{backend}, {kind}: {reason}\n"
                                f"{outcome.errors}")
            cells.append(cell(outcome))
            messages.setdefault(kind, outcome.message)
        for _, run in others:
            known = kind not in ("slow", "tag")  # they know of no buckets
            cells.append(cell(run(kind)) if known else "")
        print(f"| {FAULTS[kind]} | " + " | ".join(cells) + " |", flush=True)
    print("\nWhat the first back end says:\n")
    for kind, message in messages.items():
        if message:
            print(f"- {FAULTS[kind]}: `{message}`")
    return failures


def print_hosts(backend, kinds, build):
    failures, messages = [], {}
    print(f"\nAcross emulated hosts, {backend}:\n\n| rank 1 | "
          + " | ".join(CLUSTERS) + " |")
    print("|---" * (1 + len(CLUSTERS)) + "|")
    for kind in kinds:
        cells = []
        for place, launch in CLUSTERS.items():
            outcome = run_ours(backend, kind, build, launch=launch)
            reason = failing(kind, outcome, alone="of 1" in place)
            if reason:
                failures.append(f"{place}, {kind}: {reason}\n"
                                f"{outcome.errors}")
            cells.append(cell(outcome))
            messages.setdefault(kind, outcome.message)
        print(f"| {FAULTS[kind]} | " + " | ".join(cells) + " |", flush=True)
    for kind in HANGS:
        if kind in messages:
            print(f"\n{FAULTS[kind]}, on a host of its own: "
                  f"`{messages[kind]}`")
    return failures


def stop_anywhere(backends, build, points):
    """SIGSTOP from outside, wherever the rank is just then."""
    seed = random.randrange(1 << 30)
    print(f"\nSIGSTOP at {points} random moments, seed {seed}:\n")
    choose = random.Random(seed)
    failures = []
    for i in range(points):
        backend = backends[i % len(backends)]
        rank, seconds = choose.randrange(RANKS), choose.uniform(0.8, 2.5)
        job = Job([(mpirun(build / "bin" / "fault_loop", backend, "--timeout",
                           TIMEOUT, "--steps", 100000), {})])
        time.sleep(seconds)
        mine = f"OMPI_COMM_WORLD_RANK={rank}\0"
        stopped, = [p for p in processes_with(job.mark)
                    if mine in pathlib.Path(f"/proc/{p}/environ").read_text()]
        os.kill(stopped, signal.SIGSTOP)
        job.fault = time.monotonic()
        outcome = job.outcome()
        named = re.search(rf"for rank {rank}, which .*{stopped} on .* is "
                          r"stopped", outcome.errors)
        right = outcome.status == HANG and named and not outcome.processes
        where = re.search(r"which (has not come to it|is in it)",
                          outcome.errors)
        print(f"- {backend}, rank {rank}, which "
              f"{where[1] if where else 'is not named'}: "
              f"{cell(outcome, rank)}{'' if right else ' WRONG'}", flush=True)
        if not right:
            failures.append(f"{backend}, rank {rank}, after {seconds:.2f} s:\n"
                            f"{outcome.errors}")
    return failures


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--backends", default=",".join(OURS))
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--build", type=pathlib.Path,
                        default=ROOT / "build" / "release")
    options = parser.parse_args()
    backends = options.backends.split(",")
    print(f"{platform.node()}, {os.cpu_count()} cores, "
          f"{time.strftime('%Y-%m-%d')}; seconds from the fault to the end, "
          "and the status of the job; a rank waits "
          f"{TIMEOUT} s for another (--timeout)\n")
    kinds, build = options.faults.split(","), options.build.resolve()
    failures = print_table(backends, kinds, build, peers())
    reason = no_cluster()
    if reason:
        print(f"\nNot across hosts: {reason}")
    else:
        failures += print_hosts(backends[0], kinds, build)
    if options.full:
        failures += stop_anywhere(backends, build, 20)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
