"""Usage: library_test.py BUILD

Ringlet as a library: installs what BUILD has into a new prefix, moves that,
and builds docs/examples against it as a stranger would.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv.pop(1))
# Of whoever runs the tests: none of it may be needed.
CLEAN = {name: value for name, value in os.environ.items()
         if not name.startswith(("OMP_", "OMPI_", "RINGLET_", "CMAKE_"))
         and name not in ("LD_LIBRARY_PATH", "Ringlet_DIR", "Ringlet_ROOT")}
# Loaded at run time, each by the name of its one function.
PLUGINS = {"libringlet_cuda.so": "ringlet_cuda_library",
           "libringlet_nccl.so": "ringlet_nccl_library"}
LINES_OF_A_PAGE = 60
LOSS_BOUND = 0.1
GRADIENT_BOUND = 1e-4


def run(*command, **how):
    """What the command prints, under scripts/env."""
    done = subprocess.run(
        ["sh", "-c", '. "$0" && exec "$@"', ROOT / "scripts/env",
         *map(str, command)],
        text=True, capture_output=True, timeout=200, env=CLEAN, **how)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"{command}: status {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done.stdout


def packages_of_image():
    """What the Dockerfile has Debian install to run in, and what that needs."""
    stage = (ROOT / "Dockerfile").read_text().partition(" AS runtime\n")[2]
    words = stage.partition("--no-install-recommends")[2].partition("&&")[0]
    depends = dict(line.split("\t") for line in run(
        "dpkg-query", "-W", "-f",
        "${Package}\t${Depends},${Pre-Depends}\n").splitlines())
    found, open_ends = set(), words.replace("\\", " ").split()
    while open_ends:
        package = open_ends.pop()
        if package not in found:
            found.add(package)
            # "libc6 (>= 2.34), python3:any, ssh | openssh-client"
            open_ends += re.findall(r"(?:^|,) *([^ ,:]+)",
                                    depends.get(package, ""))
    return found


class LibraryTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        first, cls.prefix = cls.folder / "first", cls.folder / "moved"
        run("cmake", "--install", BUILD, "--prefix", first)
        cls.trained = {first: cls.train(first)}
        first.rename(cls.prefix)
        cls.trained[cls.prefix] = cls.train(cls.prefix)
        cls.examples = cls.build(ROOT / "docs/examples")

    @classmethod
    def train(cls, prefix):
        return run(prefix / "bin/ringlet", "train", "--recipe", "seed",
                   "--model", "resnet20", "--steps", 1, "--batch-size", 4,
                   "--threads", 1, "--device", "cpu", "--out",
                   f"run-{prefix.name}", cwd=cls.folder)

    @classmethod
    def build(cls, project):
        """The folder with the programs of a copy of that project."""
        source = cls.folder / project.name
        shutil.copytree(project, source, dirs_exist_ok=True)
        run("cmake", "-G", "Ninja", "-B", source / "build", "-S", source,
            f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run("cmake", "--build", source / "build")
        return source / "build"

    def test_recipes_are_found_from_any_prefix(self):
        for prefix, output in self.trained.items():
            self.assertTrue(output.startswith(
                f"recipe    {prefix}/share/ringlet/recipes/seed.recipe\n"),
                output)

    def test_each_example_is_shorter_than_a_page(self):
        for program in (ROOT / "docs/examples").glob("*.cpp"):
            self.assertLess(len(program.read_text().splitlines()),
                            LINES_OF_A_PAGE, program)

    def test_mlp_learns(self):
        output = run(self.examples / "mlp")
        losses = [float(loss) for loss in re.findall(r" loss (\S+) ", output)]
        self.assertEqual(len(losses), 11, output)
        self.assertGreater(losses[0], 1)
        self.assertLess(losses[-1], LOSS_BOUND)
        # The map of what it has learned has all three arms.
        for arm in "\\.", "o", "#":
            self.assertRegex(output, rf"(?m)^[.o#]*{arm}[.o#]*$")

    def test_custom_layer_has_the_right_gradient(self):
        pairs = re.findall(r"(?m)^backward +(\S+)  differences +(\S+)$",
                           run(self.examples / "custom_layer"))
        self.assertEqual(len(pairs), 7)
        for backward, differences in pairs:
            self.assertGreater(abs(float(backward)), GRADIENT_BOUND)
            self.assertAlmostEqual(float(backward), float(differences),
                                   delta=GRADIENT_BOUND)

    def test_all_reduce_sums_on_every_rank(self):
        for ranks in 1, 2, 3:
            for back_end in "auto", "ring", "mpi":
                with self.subTest(ranks=ranks, back_end=back_end):
                    self.check_sums(ranks, back_end)

    def check_sums(self, ranks, back_end):
        output = run("mpirun", "-np", ranks, self.examples / "all_reduce",
                     back_end)
        total = ranks * (ranks + 1) // 2
        lines = [f"rank {rank} of {ranks}, {back_end}: "
                 f"sums from {total} to {total}" for rank in range(ranks)]
        if back_end == "ring":
            sent = 12 * 2 * (ranks - 1) // ranks
            lines = [f"{line}; sent {sent} of 12 MB" for line in lines]
        said = sorted(output.splitlines())
        if back_end == "auto":  # what it sends is its own affair
            said = [line.partition(";")[0] for line in said]
        self.assertEqual(said, lines)

    def test_all_reduce_names_a_wrong_back_end(self):
        done = subprocess.run([self.examples / "all_reduce", "rings"],
                              text=True, capture_output=True, env=CLEAN)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("unknown communicator 'rings', expected", done.stderr)

    def test_headers_and_plugins(self):
        """Every header compiles in a user's program, and every plugin that was
        built is found from there."""
        project = self.folder / "everything"
        project.mkdir()
        include = self.prefix / "include/ringlet"
        headers = sorted(str(header.relative_to(include))
                         for header in include.rglob("*.h"))
        self.assertIn("engine/nn/layers.h", headers)
        (project / "all_headers.cpp").write_text(
            "".join(f'#include "{header}"\n' for header in headers))
        program = self.build(ROOT / "tests/library/everything") / "everything"
        built = sorted(file.name for file in (BUILD / "bin").glob("*.so"))
        for plugin in built:
            with self.subTest(plugin):
                self.assertEqual(run(program, plugin, PLUGINS[plugin]),
                                 "loaded\n")

    def test_the_image_has_what_programs_are_linked_with(self):
        if "bookworm" not in pathlib.Path("/etc/os-release").read_text():
            self.skipTest("not the Debian that the image has")
        packages = packages_of_image()
        for program in "ringlet", "allreduce_perf":
            linked = re.findall(r"NEEDED.+\[(.+)\]", run(
                "readelf", "-d", self.prefix / "bin" / program))
            self.assertIn("libfmt.so.9", linked)
            # Gloo is there to be measured beside, and not in the image.
            for library in set(linked) - {"libgloo.so.0"}:
                owners = run("dpkg-query", "-S", f"*/{library}").splitlines()
                self.assertTrue(
                    packages & {owner.partition(":")[0] for owner in owners},
                    f"{program}: {library} of {owners}")

    def test_programs_look_for_plugins_in_the_prefix(self):
        for program in "ringlet", "allreduce_perf":
            self.assertRegex(run("readelf", "-d", self.prefix / "bin" / program),
                             r"path: \[\$ORIGIN/\.\./lib[:\]]")


if __name__ == "__main__":
    unittest.main()
