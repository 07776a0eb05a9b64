"""The programs of scripts/gpu-check: built, and packed for a machine that has no
compiler."""

import glob
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The emulator is for x86-64 only.
EMULATOR = ["kernel_dump_cudacpu"] if platform.machine() == "x86_64" else []
ON_CPU = ["ringlet", "kernel_perf", "allreduce_perf", *EMULATOR]
TARGETS = [*ON_CPU, "gpu_tests", "has_gpu", "kernel_dump_gpu"]
PROGRAMS = [*TARGETS, "libringlet_cuda.so", "libringlet_nccl.so"]
# What every system with a C library has, in versions that fit its own.
SYSTEM = ("libc.so", "libm.so", "libstdc++", "libgcc_s", "libpthread", "libdl",
          "librt", "ld-linux", "linux-vdso", "libutil")
VENDOR = ("libcuda", "libcudart", "libcudnn", "libcublas", "libnccl",
          "libnvrtc")


def build(targets):
    subprocess.run([ROOT / "scripts" / "setup"], check=True)
    subprocess.run([ROOT / "scripts" / "build", "release", *targets],
                   check=True)


def commit():
    if not shutil.which("git"):
        return "unknown"
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always",
                           "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def pip_libraries():
    """Where PyPI's packages of NVIDIA have theirs."""
    return [folder for path in sys.path
            for folder in sorted(glob.glob(path + "/nvidia/*/lib"))]


def pack(file):
    build(TARGETS)
    built = ROOT / "build" / "release" / "bin"
    programs = [name for name in PROGRAMS if (built / name).exists()]
    libraries = {}
    for program in programs:
        text = subprocess.run(["ldd", built / program], check=True,
                              capture_output=True, text=True).stdout
        for line in text.splitlines():
            name, arrow, path = line.strip().partition(" => ")
            if arrow and not name.startswith(SYSTEM + VENDOR):
                libraries[name] = path.split(" ")[0]
    with tempfile.TemporaryDirectory() as folder:
        stage = pathlib.Path(folder)
        (stage / "bin").mkdir()
        (stage / "lib").mkdir()
        for program in programs:
            subprocess.run(["strip", "-o", stage / "bin" / program,
                            built / program], check=True)
        for name, path in libraries.items():
            shutil.copy(path, stage / "lib" / name)
        (stage / "COMMIT").write_text(commit() + "\n")
        with tarfile.open(file, "w:xz") as archive:
            for entry in sorted(stage.iterdir()):
                archive.add(entry, entry.name)
    print(f"{file}: {os.path.getsize(file) / 2**20:.1f} MiB")
