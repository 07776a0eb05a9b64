"""`ringlet doctor`: what is broken on purpose is found, and named with its fix.
What cannot be broken here is in doctor_checks_test.cpp."""

import ctypes
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import time
import unittest

import job

PROCESS_VM_READV = 310  # on x86-64
SECONDS_IN_ALL = 30
NO_CMA = "OMPI_MCA_btl_vader_single_copy_mechanism"
ROOT_VARIABLES = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
# What a container may have doctor warn of, and set in its lines.
FINE = {"OMP_NUM_THREADS": "1", NO_CMA: "none"}
BACK_ENDS = "auto, mpi, ring, naive, tree, recursive_doubling, ordered, shared"


def forbid(number):
    """From here on that system call fails with EPERM, in children too."""
    filters = [(0x20, 0, 0, 0),           # load the call's number
               (0x15, 0, 1, number),      # another one: skip what follows
               (0x06, 0, 0, 0x00050001),  # fail with EPERM
               (0x06, 0, 0, 0x7fff0000)]  # allow
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *line) for line in filters))
    program = struct.pack("HP", len(filters), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, filter_mode = 38, 22, 2
    if (libc.prctl(no_new_privileges, 1, 0, 0, 0) != 0 or
            libc.prctl(seccomp, filter_mode, program, 0, 0) != 0):
        raise OSError(ctypes.get_errno(), "seccomp")


class DoctorTest(job.JobTest):
    def examine(self, *options, wrapper=(), environment=None):
        """What it has found, by name, and its exit status."""
        began = time.monotonic()
        process = self.start_command(*wrapper, self.program, "doctor", "--json",
                                     *options, environment=environment)
        output, self.errors = process.communicate(timeout=SECONDS_IN_ALL)
        self.seconds = time.monotonic() - began
        self.document = json.loads(output)
        findings = {f["what"]: f for f in self.document["findings"]}
        self.assertEqual(len(findings), len(self.document["findings"]))
        for finding in findings.values():
            self.assertEqual(finding["fix"] == "", finding["state"] == "ok",
                             finding)
        states = [f["state"] for f in findings.values()]
        self.assertEqual(process.returncode, 1 if "error" in states else 0)
        self.assertEqual(self.files(), process.files_before)
        return findings

    def assert_finds(self, what, state, detail, *options, fix=".*", **how):
        findings = self.examine(*options, **how)
        self.assertEqual(findings[what]["state"], state, findings[what])
        self.assertRegex(findings[what]["detail"], detail)
        self.assertRegex(findings[what]["fix"], fix)
        return findings

    def pretend_mpirun(self, body):
        file = self.folder / "bin" / "mpirun"
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/sh\n" + body + "\n")
        file.chmod(0o755)
        return {"PATH": f"{file.parent}{os.pathsep}{os.environ['PATH']}"}

    def fault(self, kind):
        """An mpirun whose rank 1 has that fault."""
        real = shutil.which("mpirun")
        return self.pretend_mpirun(
            f'[ "$1" != --version ] || exec {real} "$@"\n'
            f'exec {real} "$@" --fault rank=1,op=all_reduce#1,kind={kind}')

    def in_namespace(self, option, commands):
        """A wrapper that does the commands in namespaces of its own."""
        wrapper = ["unshare", option, "sh", "-e", "-c", commands + '\nexec "$@"',
                   "sh"]
        tried = subprocess.run([*wrapper, "true"], capture_output=True,
                               text=True, cwd=self.folder)
        if tried.returncode != 0:
            self.skipTest(f"not permitted here: {tried.stderr.strip()}")
        return wrapper

    def test_a_machine_that_is_fine(self):
        findings = self.examine("--np", 1)
        for what, detail in (
                ("processor", "built for"), ("threads", "for each of 1 rank"),
                ("environment", "in effect: OMPI_"),
                ("shared memory", "map each other's"),
                ("network", "127.0.0.1 answers"),
                ("disk", "writes, fsyncs, renames|MiB free"),
                ("mpirun", "in PATH, .+ linked"),
                ("job", f"2 ranks by mpirun .+ rightly .+: {BACK_ENDS}$"),
                ("binding", "mpirun gives a rank"),
                ("gpu", "none, the CPU computes|hidden by CUDA")):
            self.assertIn(findings[what]["state"], ("ok", "warn"))
            self.assertRegex(findings[what]["detail"], detail)
        self.assertEqual(self.errors, "")

    def test_lines_to_start_with(self):
        program = os.path.realpath(self.program)
        root = "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "
        free = ("OMPI_MCA_rmaps_base_oversubscribe=1 "
                "PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe "
                "OMPI_MCA_hwloc_base_binding_policy=none "
                "PRTE_MCA_hwloc_default_binding_policy=none ")
        # What `launch` gives mpirun and nobody has set: after scripts/env,
        # that root may; without it, all.
        for unset, settings in ((ROOT_VARIABLES, root),
                                ((*ROOT_VARIABLES, *re.findall(r"\w+(?==)", free)),
                                 root + free)):
            self.examine("--np", 3, environment=FINE, wrapper=[
                "env", *(f"--unset={name}" for name in unset)])
            line = self.document["mpirun"]
            self.assertEqual(line, f"{settings}mpirun -np 3 {program} train")
        self.assertEqual(self.document["launch"],
                         f"{program} launch -np 3 -- train")
        printed = self.start("doctor", "--np", 3,
                             environment=FINE).communicate()[0]
        self.assertIn(f"\n  {program} launch -np 3 -- train\n", printed)
        # And a shell takes it as it is, with an mpirun that only looks.
        path = self.pretend_mpirun('echo "$OMPI_ALLOW_RUN_AS_ROOT $*"')
        said = subprocess.run(["sh", "-c", line], capture_output=True,
                              env={"PATH": path["PATH"]}, text=True)
        self.assertEqual(said.stdout, f"1 -np 3 {program} train\n")

    def test_cores_and_ranks(self):
        one = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        findings = self.assert_finds(
            "slots", "warn", "2 ranks on 1 core take turns", wrapper=one,
            fix="fewer ranks")
        self.assertEqual(findings["cores"]["detail"], "1 processor on 1 core")
        self.assertEqual(findings["job"]["state"], "ok")
        self.assert_finds("threads", "warn", r"64 threads .+OMP_NUM_THREADS=64",
                          wrapper=one, environment={"OMP_NUM_THREADS": "64"},
                          fix="unset OMP_NUM_THREADS, or set it to 1")

    def test_binding(self):
        self.assert_finds(
            "binding", "warn", r"gives a rank \d+ processors? for its 64 threads",
            "--np", 1, fix="bind-to none", environment={
                "OMP_NUM_THREADS": "64",
                "OMPI_MCA_hwloc_base_binding_policy": "core"})

    def test_environment(self):
        self.assert_finds(
            "environment", "warn", "MALLOC_CHECK_=3 makes memory slow",
            environment={"MALLOC_CHECK_": "3"}, fix="unset MALLOC_CHECK_$")
        self.assert_finds("environment", "ok", "NCCL_DEBUG=INFO",
                          environment={"NCCL_DEBUG": "INFO"})

    @unittest.skipUnless(os.geteuid() == 0, "only root is refused by mpirun")
    def test_root(self):
        self.assert_finds(
            "user", "warn", "root, whom plain mpirun .+ refuses", wrapper=[
                "env", *(f"--unset={name}" for name in ROOT_VARIABLES)],
            fix="scripts/env")
        self.assert_finds("user", "ok", "OMPI_ALLOW_RUN_AS_ROOT allows")

    def test_file_size(self):
        findings = self.assert_finds(
            "file size", "error", "limited to 0.0 MiB", fix="ulimit -f",
            wrapper=["prlimit", "--fsize=1"])
        self.assertEqual(findings["shared memory"]["state"], "warn")
        self.assertRegex(findings["disk"]["detail"], "File too large")
        self.assert_finds("file size", "warn", "limited to 50.0 MiB",
                          wrapper=["prlimit", f"--fsize={50 << 20}"])

    def test_cma_is_forbidden(self):
        def examine(*wrapper, **how):
            process = subprocess.run(
                [*wrapper, self.program, "doctor", "--json"], capture_output=True,
                text=True, timeout=SECONDS_IN_ALL, cwd=self.folder,
                preexec_fn=lambda: forbid(PROCESS_VM_READV),
                env={**os.environ, **how})
            document = json.loads(process.stdout)
            return document, next(f for f in document["findings"]
                                  if f["what"] == "cma")
        document, forbidden = examine()
        for line in document["launch"], document["mpirun"]:
            self.assertIn(f"{NO_CMA}=none ", line.split("/")[0])
        self.assertEqual(forbidden["state"], "warn")
        self.assertIn("process_vm_readv: Operation not permitted",
                      forbidden["detail"])
        self.assertIn("single_copy_mechanism=none", forbidden["fix"])
        document, off = examine(**{NO_CMA: "none"})
        self.assertEqual(off["state"], "ok")
        self.assertNotIn(NO_CMA, document["launch"] + document["mpirun"])
        _, by_yama = examine(*self.in_namespace(
            "--mount", "mount -t tmpfs none /proc/sys/kernel\n"
            "mkdir /proc/sys/kernel/yama\n"
            "echo 2 > /proc/sys/kernel/yama/ptrace_scope"))
        self.assertIn("Yama's ptrace_scope is 2", by_yama["detail"])
        self.assertIn("kernel.yama.ptrace_scope=0", by_yama["fix"])

    def test_a_cgroup_with_a_quota(self):
        second = "echo 50000 100000 > /sys/fs/cgroup/cpu.max"
        first = ("mkdir /sys/fs/cgroup/cpu; cd /sys/fs/cgroup/cpu\n"
                 "echo 30000 > cpu.cfs_quota_us; cd - > /dev/null\n"
                 "echo 100000 > /sys/fs/cgroup/cpu/cpu.cfs_period_us")
        versions = [(first, "0.3")]
        if "\n0::" in "\n" + pathlib.Path("/proc/self/cgroup").read_text():
            versions += [(second, "0.5"), (first + "\n" + second, "0.3")]
        for files, processors in versions:
            self.assert_finds(
                "cores", "warn", f"allows the time of {processors}:", "--np", 1,
                fix="OMP_NUM_THREADS=1,", environment={"OMP_NUM_THREADS": "2"},
                wrapper=self.in_namespace(
                    "--mount", "mount -t tmpfs none /sys/fs/cgroup\n" + files))
            for line in self.document["launch"], self.document["mpirun"]:
                self.assertTrue(line.startswith("OMP_NUM_THREADS=1 "), line)

    def test_a_driver_of_which_only_one_file_is_there(self):
        devices = "null zero full random urandom tty"
        self.assert_finds(
            "gpu", "warn", "hidden by CUDA_VISIBLE_DEVICES", wrapper=
            self.in_namespace("--mount", f"""
                mount -t tmpfs none /mnt; cd /dev
                for device in {devices}; do
                  touch /mnt/$device; mount --bind $device /mnt/$device
                done
                mkdir /mnt/shm; touch /mnt/nvidia0; cd - > /dev/null
                mount --move /mnt /dev"""))

    def test_huge_pages(self):
        for setting, state in (("always madvise [never]", "warn"),
                               ("[always] madvise never", "ok")):
            (self.folder / "enabled").write_text(setting + "\n")
            self.assert_finds(
                "huge pages", state, "no transparent ones" if state == "warn"
                else re.escape(setting), wrapper=self.in_namespace(
                    "--mount", "mount --bind enabled "
                    "/sys/kernel/mm/transparent_hugepage/enabled"))

    def test_dev_shm_is_small(self):
        self.assert_finds(
            "/dev/shm", "warn", "1 MiB free", fix="shm-size=64m",
            wrapper=self.in_namespace(
                "--mount", "mount -t tmpfs -o size=1m none /dev/shm"))

    def test_disk(self):
        (self.folder / "disk").mkdir()
        for options, message in (
                ("size=64k", "cannot write: No space left on device"),
                ("ro", "cannot create: Read-only file system")):
            self.assert_finds(
                "disk", "error", rf"disk/\.doctor-.+: {message}",
                "--out", "disk/runs", fix="--out",
                wrapper=self.in_namespace(
                    "--mount", f"mount -t tmpfs -o {options} none disk"))
        self.assert_finds(
            "disk", "warn", r"disk: \d+ MiB free; .+ ResNet-50", "--out",
            "disk/runs", fix="--keep", wrapper=self.in_namespace(
                "--mount", "mount -t tmpfs -o size=32m none disk"))

    def test_network(self):
        findings = self.assert_finds(
            "network", "error", "127.0.0.1, .+: Network is unreachable",
            fix="ip link set lo up", wrapper=self.in_namespace("--net", ""))
        self.assertEqual(findings["job"]["state"], "error")
        self.assert_finds(
            "network", "warn", "nowhere.invalid, has no address",
            fix="/etc/hosts: 127.0.1.1 nowhere.invalid",
            wrapper=self.in_namespace(
                "--uts",
                "echo nowhere.invalid > /proc/sys/kernel/hostname"))

    def test_mpirun_of_another_kind(self):
        findings = self.assert_finds(
            "mpirun", "error", "MPICH's, .+ is linked", fix="openmpi-bin",
            environment=self.pretend_mpirun(
                'echo "HYDRA build details:"; echo "    Version: 4.0.2"'))
        self.assertNotIn("job", findings)
        self.assert_finds(
            "mpirun", "warn", r"Open MPI 3\.9\.9 in PATH",
            environment=self.pretend_mpirun(
                '[ "$1" = --version ] || exec ' + shutil.which("mpirun") +
                ' "$@"\necho "mpirun (Open MPI) 3.9.9"'))

    def test_no_mpirun(self):
        self.assert_finds("mpirun", "error", "cannot start mpirun: No such file",
                          fix="openmpi-bin", wrapper=["env", "PATH=/nowhere"])

    def test_an_mpirun_that_hangs(self):
        (self.folder / "pid").touch()
        self.assert_finds(
            "mpirun", "error", "does not come to an end", fix="openmpi-bin",
            environment=self.pretend_mpirun("echo $$ > pid; sleep 1000"))
        self.assertLess(self.seconds, 10)
        pid = int((self.folder / "pid").read_text())
        self.assertFalse(pathlib.Path(f"/proc/{pid}").exists())

    def test_ranks_that_do_not_start(self):
        # Open MPI loses one of its two messages at times, or garbles both.
        findings = self.assert_finds(
            "job", "error", "Component: nonsense|MPI_INIT failed|show_help",
            fix="mpirun -np 2 hostname",
            environment={"OMPI_MCA_btl": "nonsense"})
        self.assertEqual(findings["binding"]["state"], "warn")
        self.assertIn("OMPI_MCA_btl=nonsense", findings["environment"]["detail"])

    def test_ranks_with_a_wrong_sum(self):
        self.assert_finds(
            "job", "error", r"auto: wrong sum: element 0 is .+, expected 1$",
            environment=self.fault("flip"))

    def test_ranks_that_hang_or_die(self):
        self.assert_finds("job", "error", r"hang: rank 0 has waited .+ rank 1",
                          environment=self.fault("stop"))
        self.assertLess(self.seconds, 15)
        self.assert_finds("job", "error", "a rank is gone|on signal 9",
                          environment=self.fault("kill"))

    def test_bad_calls(self):
        self.assert_refused(
            "ringlet: doctor under Open MPI: expected to be started alone; .+",
            self.start("doctor", ranks=2))
        self.assert_refused(
            "ringlet: --np: '0', expected a whole number from 1 to 4096; .+",
            self.start("doctor", "--np", 0))


if __name__ == "__main__":
    job.main()
