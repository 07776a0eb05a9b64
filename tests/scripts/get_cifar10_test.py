"""scripts/get-cifar10 against a server of its own: what it leaves behind and
what it says when the archive is right, wrong, cut off or not there."""

import hashlib
import http.server
import io
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/get-cifar10"
NAMES = [f"data_batch_{i}.bin" for i in range(1, 6)]
NAMES += ["test_batch.bin", "batches.meta.txt"]


def make_archive(names):
    # Contents that do not compress, so that half an archive is half the data.
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo("cifar-10-batches-bin/" + name)
            content = name.encode() + os.urandom(5000)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return memory.getvalue()


def md5(content):
    return hashlib.md5(content).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /archive; promises `promised` bytes; may hang."""

    def __init__(self, content, promised=None, hang=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.promised = content, promised or len(content)
        self.asked, self.go_on = threading.Event(), threading.Event()
        if not hang:
            self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_port}/archive"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,),
                         daemon=True).start()
        return self

    def __exit__(self, *error):
        self.go_on.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *connection):
        pass  # a client that hangs up is part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/archive":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.promised))
        self.end_headers()
        self.server.asked.set()
        self.server.go_on.wait()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments):
        pass


class GetCifar10Test(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.target = self.root / "data" / "cifar10"
        self.environment = {"PATH": os.environ["PATH"]}

    def command(self, *options):
        return [SCRIPT, *options, self.target]

    def run_script(self, *options):
        return subprocess.run(self.command(*options), capture_output=True,
                              text=True, timeout=60, env=self.environment)

    def assert_fails(self, result, *words):
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for word in ("get-cifar10: ", *words):
            self.assertIn(word, result.stderr)
        self.assertEqual(list(self.root.iterdir()), [])

    def assert_succeeds(self, archive):
        with Server(archive) as server:
            result = self.run_script("--url", server.url, "--md5",
                                     md5(archive))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual({file.name for file in self.target.iterdir()},
                         set(NAMES))
        for name in NAMES:
            content = (self.target / name).read_bytes()
            self.assertTrue(content.startswith(name.encode()), name)
        self.assertEqual(list(self.target.parent.iterdir()), [self.target])

    def test_right_archive(self):
        self.assert_succeeds(make_archive(NAMES))

    def use_only(self, *programs):
        """Leaves the script these programs and what it always needs."""
        tools = tempfile.TemporaryDirectory()
        self.addCleanup(tools.cleanup)
        for name in ("bash dirname ls mktemp rm md5sum mkdir tar gzip mv "
                     "env").split() + list(programs):
            os.symlink(shutil.which(name), os.path.join(tools.name, name))
        self.environment["PATH"] = tools.name

    @unittest.skipUnless(shutil.which("wget"), "no wget here")
    def test_right_archive_by_wget(self):
        self.use_only("wget")
        self.assert_succeeds(make_archive(NAMES))

    @unittest.skipUnless(shutil.which("wget"), "no wget here")
    def test_not_found_by_wget(self):
        self.use_only("wget")
        with Server(b"") as server:
            result = self.run_script("--url", server.url + "-of-old")
        self.assert_fails(result, "404")

    def test_neither_curl_nor_wget(self):
        self.use_only()
        self.assert_fails(self.run_script(), "neither curl nor wget")

    def test_complete_folder_is_left_alone(self):
        self.target.mkdir(parents=True)
        for name in NAMES:
            (self.target / name).write_text("mine")
        result = self.run_script("--url", "http://127.0.0.1:1/none")
        self.assertEqual((result.returncode, result.stdout, result.stderr),
                         (0, "", ""))
        self.assertEqual((self.target / NAMES[0]).read_text(), "mine")

    def test_incomplete_folder_is_left_alone(self):
        self.target.mkdir(parents=True)
        (self.target / NAMES[0]).write_text("mine")
        result = self.run_script("--url", "http://127.0.0.1:1/none")
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("has no data_batch_2.bin", result.stderr)
        self.assertEqual((self.target / NAMES[0]).read_text(), "mine")

    def test_wrong_md5(self):
        archive = make_archive(NAMES)
        with Server(archive) as server:
            result = self.run_script("--url", server.url)
        self.assert_fails(result, md5(archive),
                          "expected c32a1d4ab5d03f1284b67883e8d87530")

    def test_first_half_of_the_archive(self):
        archive = make_archive(NAMES)
        half = archive[:len(archive) // 2]
        with Server(half) as server:
            result = self.run_script("--url", server.url, "--md5",
                                     md5(archive))
        self.assert_fails(result, "md5 is " + md5(half))

    def test_connection_closed_half_way(self):
        archive = make_archive(NAMES)
        with Server(archive[:len(archive) // 2],
                    promised=len(archive)) as server:
            result = self.run_script("--url", server.url, "--md5",
                                     md5(archive))
        self.assert_fails(result, server.url, "cannot download")

    def test_archive_that_lacks_a_file(self):
        archive = make_archive(NAMES[:-1])
        with Server(archive) as server:
            result = self.run_script("--url", server.url, "--md5",
                                     md5(archive))
        self.assert_fails(result, "lacks batches.meta.txt")

    def test_not_an_archive(self):
        with Server(b"no archive") as server:
            result = self.run_script("--url", server.url, "--md5",
                                     md5(b"no archive"))
        self.assert_fails(result, "cannot unpack")

    def test_not_found(self):
        with Server(b"") as server:
            result = self.run_script("--url", server.url + "-of-old")
        self.assert_fails(result, server.url + "-of-old", "404")

    def test_no_server(self):
        with socket.socket() as listener:  # bound, so nobody else takes it
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            result = self.run_script("--url", f"http://127.0.0.1:{port}/x")
        self.assert_fails(result, f"127.0.0.1:{port}/x: cannot download")

    def test_interrupted(self):
        with Server(b"never sent", hang=True) as server:
            script = subprocess.Popen(self.command("--url", server.url),
                                      stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL,
                                      env=self.environment,
                                      start_new_session=True)
            self.assertTrue(server.asked.wait(30))
            os.killpg(script.pid, signal.SIGTERM)
            self.assertNotEqual(script.wait(30), 0)
        self.assertEqual(list(self.root.iterdir()), [])

    def test_unknown_option(self):
        self.assert_fails(self.run_script("--sum", "x"), "--sum")

    def test_option_without_value(self):
        self.target = "--md5"
        self.assert_fails(self.run_script(), "--md5")


if __name__ == "__main__":
    unittest.main()
