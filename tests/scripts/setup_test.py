"""scripts/setup with a package manager that only pretends: what it asks for,
as whom, and where it stops."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/setup"
REAL_TOOLS = "bash dirname dpkg env mkdir sed tail".split()
UPDATE = "apt-get -q update"
INSTALL = "apt-get -q install -y --no-install-recommends"


@unittest.skipUnless(shutil.which("dpkg"), "compares versions with dpkg")
class SetupTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.tools = self.root / "tools"
        for name in ("scripts", "tools"):
            (self.root / name).mkdir()
        shutil.copy(SCRIPT, self.root / "scripts/setup")
        for name in REAL_TOOLS:
            (self.tools / name).symlink_to(shutil.which(name))
        self.installed = {name: "99" for name in self.all_packages()}
        self.installed |= {"cmake": "3.25.1-1", "g++": "4:12.2.0-3"}
        self.offered = dict(self.installed)
        self.log = self.root / "log"
        self.log.touch()
        self.pretend("apt-get", f'echo "apt-get $*" >>{self.log}')
        self.pretend("id", "echo 0")

    def pretend(self, program, body):
        file = self.tools / program
        file.write_text("#!/usr/bin/env bash\n" + body + "\n")
        file.chmod(0o755)

    def all_packages(self):
        """As the script lists them where it cannot help."""
        stopped = self.run_script()
        return stopped.stderr.rpartition(": ")[2].split()

    def run_script(self):
        return subprocess.run([self.root / "scripts/setup"], text=True,
                              capture_output=True, timeout=60,
                              env={"PATH": str(self.tools)})

    def setup_says(self):
        lines = "".join(f"{name} ii  {version}\n"
                        for name, version in self.installed.items())
        self.pretend("dpkg-query", f"echo '{lines}'")
        cases = "".join(f"{name}) echo '  Candidate: {version}' ;;\n"
                        for name, version in self.offered.items())
        self.pretend("apt-cache", f"case $2 in\n{cases}esac")
        return self.run_script()

    def asked(self):
        return self.log.read_text().splitlines()

    def assert_stops(self, *words):
        result = self.setup_says()
        self.assertEqual(result.returncode, 1, result)
        for word in words:
            self.assertIn(word, result.stderr)
        self.assertFalse([line for line in self.asked() if "install" in line])
        return result

    def test_knows_what_the_build_needs(self):
        for name in ("g++", "cmake", "libdnnl-dev", "libopenmpi-dev"):
            self.assertIn(name, self.installed)

    def test_silent_where_nothing_is_missing(self):
        result = self.setup_says()
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, "", ""))
        self.assertEqual(self.asked(), [])

    def test_installs_what_is_missing_and_no_more(self):
        del self.installed["cmake"], self.installed["libdnnl-dev"]
        result = self.setup_says()
        self.assertEqual((result.returncode, result.stdout),
                         (0, "Installing cmake libdnnl-dev\n"))
        self.assertEqual(self.asked(), [UPDATE, INSTALL + " cmake libdnnl-dev"])

    def test_removed_package_is_missing(self):
        self.installed["ccache"] = "1"
        self.setup_says()
        self.pretend("dpkg-query", "sed s/ii/rc/ <<<'ccache ii  1'")
        self.assertIn("ccache", self.run_script().stdout)

    def test_sudo_where_not_root(self):
        del self.installed["ccache"]
        self.pretend("id", "echo 1000")
        self.pretend("sudo", f'echo sudo >>{self.log}; "$@"')
        self.assertEqual(self.setup_says().returncode, 0)
        self.assertEqual(self.asked(),
                         ["sudo", UPDATE, "sudo", INSTALL + " ccache"])

    def test_neither_root_nor_sudo(self):
        del self.installed["ccache"]
        self.pretend("id", "echo 1000")
        self.assert_stops("no sudo to install ccache")
        self.assertEqual(self.asked(), [])

    def test_unknown_system(self):
        (self.tools / "apt-get").unlink()
        self.assert_stops("no apt-get", "libopenmpi-dev", "Debian 12")

    def test_old_system(self):
        del self.installed["cmake"]
        self.offered["cmake"] = "3.22.1-1ubuntu1"
        self.assert_stops("cmake 3.22.1-1ubuntu1 is older than 3.25")

    def test_old_package_is_installed(self):
        self.installed["g++"] = "4:11.4.0-1"
        self.assert_stops("g++ 4:11.4.0-1 is older than 12")

    def test_package_that_is_not_offered(self):
        del self.installed["libdnnl-dev"]
        self.offered["libdnnl-dev"] = "(none)"
        self.assert_stops("no package libdnnl-dev")

    def test_failing_package_manager(self):
        del self.installed["ccache"]
        self.pretend("apt-get", "echo E: no network; exit 100")
        self.assert_stops("E: no network", "apt-get update failed")


if __name__ == "__main__":
    unittest.main()
