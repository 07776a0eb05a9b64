"""scripts/env under every shell at hand: what it sets, what it leaves."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/env"
SHELLS = [shell for shell in ("sh", "bash", "dash") if shutil.which(shell)]

EVERYBODY = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
ROOT = EVERYBODY | {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


class EnvTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tools = folder.name

    def become(self, user_id):
        program = pathlib.Path(self.tools, "id")
        program.write_text(f"#!/bin/sh\necho {user_id}\n")
        program.chmod(0o755)

    def environment(self, shell, commands, **given):
        path = self.tools + os.pathsep + os.environ["PATH"]
        output = subprocess.run([shell, "-euc", commands + "; env"],
                                text=True, capture_output=True, check=True,
                                env={"PATH": path} | given)
        self.assertEqual(output.stderr, "")
        return dict(line.split("=", 1) for line in output.stdout.splitlines())

    def added(self, shell, times=1, **given):
        before = self.environment(shell, "true", **given)
        after = self.environment(shell, "; ".join([f". {SCRIPT}"] * times),
                                 **given)
        self.assertEqual({**after, **before}, after)
        return {k: v for k, v in after.items() if k not in before}

    def test_root(self):
        self.become(0)
        for shell in SHELLS:
            self.assertEqual(self.added(shell), ROOT, shell)

    def test_ordinary_user(self):
        self.become(1000)
        for shell in SHELLS:
            self.assertEqual(self.added(shell), EVERYBODY, shell)

    def test_twice_is_as_once(self):
        self.become(0)
        for shell in SHELLS:
            self.assertEqual(self.added(shell, times=2), ROOT, shell)

    def test_leaves_what_the_user_chose(self):
        self.become(0)
        chosen = {name: "other" for name in ROOT}
        for shell in SHELLS:
            self.assertEqual(self.added(shell, **chosen), {}, shell)

    @unittest.skipUnless(shutil.which("mpirun"), "no mpirun here")
    def test_mpirun_starts_more_ranks_than_cores(self):
        ranks = str(2 * os.cpu_count() + 1)
        result = subprocess.run(
            ["sh", "-c", f". {SCRIPT}; exec mpirun -np {ranks} echo hello"],
            text=True, capture_output=True, timeout=60)
        self.assertEqual(result.stdout, "hello\n" * int(ranks), result.stderr)


if __name__ == "__main__":
    unittest.main()
