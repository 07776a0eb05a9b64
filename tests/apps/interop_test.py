"""Weights and pictures from elsewhere: eval, predict, export, import, and
train --weights."""

import json
import re
import struct
import tempfile
import time
import pathlib
import zlib

import job

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog",
           "horse", "ship", "truck"]
QUICK = ["train", "--model", "resnet20", "--steps", 2, "--batch-size", 8,
         "--threads", 1]


def read_safetensors(path):
    """{name: (dtype, shape, bytes)} and the metadata."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    metadata = header.pop("__metadata__", {})
    return {name: (entry["dtype"], entry["shape"],
                   data[slice(*entry["data_offsets"])])
            for name, entry in header.items()}, metadata


def write_safetensors(path, tensors):
    """As other programs do: in any order, without metadata."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape,
                        "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_png(path, width, height, pixel):
    """pixel(x, y) gives three bytes."""
    rows = b"".join(
        b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width))
        for y in range(height))

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(
            ">I", zlib.crc32(body))

    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" +
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
        chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class InteropTest(job.JobTest):
    run_folder = None

    def setUp(self):
        super().setUp()
        if InteropTest.run_folder is None:
            kept = tempfile.TemporaryDirectory()
            self.addClassCleanup(kept.cleanup)
            InteropTest.run_folder = pathlib.Path(kept.name) / "run"
            self.run_job(*QUICK, "--checkpoint-steps", 1, "--out",
                         self.run_folder)
        self.weights = self.run_folder / "model.safetensors"

    def plain_weights(self, changes=None):
        """A file as torchvision's users have it: no metadata."""
        tensors, _ = read_safetensors(self.weights)
        tensors.update(changes or {})
        write_safetensors(self.folder / "plain.safetensors", tensors)
        return "plain.safetensors"

    def evaluation(self, path):
        return json.loads(self.run_job("eval", path, "--json"))

    def test_eval_agrees_with_the_training(self):
        result = self.evaluation(self.run_folder)
        *_, last = (self.run_folder / "metrics.jsonl").read_text().splitlines()
        expected = json.loads(last)["validation"]
        self.assertEqual(result["accuracy"], expected["accuracy"])
        self.assertAlmostEqual(result["loss"], expected["loss"], places=5)
        self.assertEqual(result["pictures"], 1000)
        self.assertEqual([sum(row) for row in result["confusion"]], 10 * [100])
        self.assertEqual(
            sum(row[i] for i, row in enumerate(result["confusion"])) / 1000,
            result["accuracy"])

    def test_eval_prints_classes_and_confusion(self):
        result = self.evaluation(self.weights)
        output = self.run_job("eval", self.weights)
        self.assertIn(f"accuracy  {100 * result['accuracy']:.2f} %\n", output)
        self.assertIn(f"loss      {result['loss']:.4f}\n", output)
        for i, (name, row) in enumerate(zip(result["classes"],
                                            result["confusion"])):
            self.assertRegex(
                output, rf"(?m)^{name} +{row[i]}\.00 % +100 +"
                + " +".join(map(str, row)) + "$")

    def test_eval_of_a_checkpoint(self):
        path = self.run_folder / "checkpoints/step-2"
        result = self.evaluation(path)
        self.assertEqual(result["weights"], str(path / "model.safetensors"))
        self.assertEqual(result["loss"],
                         self.evaluation(self.weights)["loss"])

    def test_eval_takes_the_average_of_the_weights(self):
        options = ["train", "--model", "resnet20", "--batch-size", 8,
                   "--threads", 1, "--ema-decay", 0.5]
        self.run_job(*options, "--steps", 4, "--checkpoint-steps", 2, "--out",
                     "averaged")
        run = self.folder / "averaged"
        of_run = self.evaluation(run)
        checkpoint = run / "checkpoints/step-4"
        of_checkpoint = self.evaluation(checkpoint)
        self.assertEqual(of_checkpoint["weights"],
                         str(checkpoint / "ema.safetensors"))
        self.assertEqual(of_checkpoint["loss"], of_run["loss"])
        self.assertNotEqual(
            of_run["loss"],
            self.evaluation(checkpoint / "model.safetensors")["loss"])
        # Weights of an end that is no longer the end are put aside.
        process = self.start("train", "--resume", "averaged", "--steps", 100000)
        while not (run / "model.safetensors.old").exists():
            self.assertIsNone(process.poll())
            time.sleep(0.05)
        process.kill()
        process.communicate(timeout=job.SECONDS_TO_HANG)
        self.assertEqual(
            self.evaluation(run)["weights"].rpartition("/")[2],
            "ema.safetensors")

    def test_eval_refuses_other_classes_but_not_unnamed_ones(self):
        cifar = self.folder / "cifar"
        cifar.mkdir()
        (cifar / "test_batch.bin").write_bytes(bytes(10_000 * 3073))
        self.assert_refused(
            "ringlet: --data cifar: has the classes airplane, .*, but .* tells "
            "red heart, .* apart", self.start("eval", self.weights, "--data",
                                              "cifar"))
        # Weights that do not say are taken; all pictures are alike, and class 0.
        result = json.loads(self.run_job("eval", self.plain_weights(), "--data",
                                         "cifar", "--json", environment={
                                             "OMP_NUM_THREADS": "1"}))
        self.assertEqual((result["data"], result["pictures"]),
                         ("CIFAR-10 test", 10_000))
        self.assertEqual(sorted(result["confusion"][0]), 9 * [0] + [10_000])
        self.assertEqual(result["confusion"][1:], 9 * [10 * [0]])
        self.assertEqual(result["accuracy"],
                         result["confusion"][0][0] / 10_000)

    def test_one_process_only(self):
        for command, *more in (("eval",), ("import",), ("metrics",),
                               ("export", "out"), ("predict", "a.png")):
            self.assert_refused(
                f"ringlet: {command} is for one process, but 2 were started: "
                "expected no mpirun",
                self.start(command, self.weights, *more, ranks=2))

    def test_predict(self):
        write_png(self.folder / "a.png", 32, 32, lambda x, y: (8 * x, 8 * y, 9))
        # Twice as large, between margins that do not count.
        write_png(self.folder / "b.png", 72, 64, lambda x, y: (
            (8 * ((x - 4) // 2), 8 * (y // 2), 9) if 4 <= x < 68 else
            (255, 255, 255)))
        first, second = map(json.loads, self.run_job(
            "predict", self.run_folder, "a.png", "b.png", "--json"
        ).splitlines())
        self.assertEqual(first["logits"], second["logits"])
        self.assertEqual(len(first["logits"]), 10)
        self.assertEqual(len(first["top"]), 5)
        shares = [entry["probability"] for entry in first["top"]]
        self.assertEqual(shares, sorted(shares, reverse=True))
        output = self.run_job("predict", self.run_folder, "a.png")
        self.assertEqual(output.splitlines()[0], "a.png")
        for line, entry in zip(output.splitlines()[1:], first["top"]):
            self.assertEqual(
                line.split(), [*entry["class"].split(),
                               f"{100 * entry['probability']:.2f}", "%"])

    def test_predict_names_what_it_cannot_read(self):
        (self.folder / "text.jpg").write_text("no picture")
        write_png(self.folder / "a.png", 32, 32, lambda x, y: (x, y, 9))
        whole = (self.folder / "a.png").read_bytes()
        (self.folder / "cut.png").write_bytes(whole[:len(whole) // 2])
        for name, message in (
                ("none.png", "cannot read: No such file or directory"),
                ("text.jpg", "neither a PNG nor a JPEG"),
                ("cut.png", "a damaged PNG: .+")):
            self.assert_refused(
                f"ringlet: {name}: {message}",
                self.start("predict", self.weights, "a.png", name))

    def test_predict_asks_whose_classes(self):
        write_png(self.folder / "a.png", 32, 32, lambda x, y: (x, y, 9))
        plain = self.plain_weights()
        self.assert_refused(
            f"ringlet: {plain}: does not say what its classes are: expected "
            "--trained-on cifar10 or synthetic",
            self.start("predict", plain, "a.png"))
        line = json.loads(self.run_job("predict", plain, "a.png", "--json",
                                       "--trained-on", "cifar10"))
        self.assertIn(line["top"][0]["class"], CIFAR10)

    def test_export_keeps_every_byte(self):
        self.run_job("export", self.run_folder, "out.safetensors")
        ours, _ = read_safetensors(self.weights)
        theirs, metadata = read_safetensors(self.folder / "out.safetensors")
        self.assertEqual(ours, theirs)
        self.assertEqual(metadata["format"], "pt")
        self.assertEqual(metadata["model"], "resnet20")

    def test_import_prints_a_line_for_a_shell(self):
        path = self.folder / "two words.safetensors"
        path.write_bytes(self.weights.read_bytes())
        self.assertIn(f"--weights '{path}'\n", self.run_job("import", path))

    def test_import_says_what_it_is(self):
        plain = self.plain_weights()
        output = self.run_job("import", plain)
        self.assertEqual(
            output,
            f"weights   {plain}: resnet20, cifar stem, 10 classes, 128 "
            "tensors\nall tensors fit; to train from them:\n"
            f"  ringlet train --model resnet20 --stem cifar --weights {plain}"
            "\n")

    def test_import_names_what_does_not_fit(self):
        for name, entry, message in (
                ("layer2.0.bn1.weight", ("F32", [31], bytes(124)),
                 r"tensor 'layer2.0.bn1.weight' is f32 \[31\], expected f32 "
                 r"\[32\]"),
                ("extra", ("U8", [1], b"x"),
                 "tensor 'extra' is unknown to the model"),
                ("layer3.3.conv1.weight", ("F32", [1], bytes(4)),
                 r"3\+3\+4 blocks of 2 convolutions, 16 channels and 64 "
                 "features: expected one of resnet18, .*")):
            with self.subTest(name):
                plain = self.plain_weights({name: entry})
                self.assert_refused(f"ringlet: {plain}: {message}",
                                    self.start("import", plain))

    def test_import_of_broken_files(self):
        whole = self.weights.read_bytes()
        for content, message in (
                (whole[:-1], r"tensor .* data_offsets are .*"),
                (whole[:1000], "header length .*, expected at most 992"),
                (b"PK\x03\x04 a file of torch.save",
                 "header length .*, expected at most .*")):
            (self.folder / "broken").write_bytes(content)
            self.assert_refused(f"ringlet: broken: {message}",
                                self.start("import", "broken"))
        self.assert_refused(
            r"ringlet: .: no weights there, expected a safetensors file, the "
            "folder of a run or .*", self.start("import", "."))

    def test_training_starts_from_another_number_of_classes(self):
        plain = self.plain_weights({"fc.weight": ("F32", [7, 64],
                                                  bytes(7 * 64 * 4)),
                                    "fc.bias": ("F32", [7], bytes(28))})
        self.assertIn(
            f"\nweights   {plain}, but for fc.weight, fc.bias: of another "
            "shape there, drawn anew\n",
            self.run_job(*QUICK, "--weights", plain, "--lr", 1e-30,
                         "--weight-decay", 0, "--out", "new", ranks=2))
        old, _ = read_safetensors(self.weights)
        new, _ = read_safetensors(self.folder / "new/model.safetensors")
        for name in ("conv1.weight", "layer3.2.bn2.weight"):
            self.assertEqual(old[name], new[name], name)
        self.assertEqual(new["fc.weight"][1], [10, 64])
        self.assertNotEqual(set(new["fc.weight"][2]), {0})

    def test_training_starts_from_a_run_with_another_stem(self):
        plain = self.plain_weights({"conv1.weight": ("F32", [16, 3, 7, 7],
                                                     bytes(16 * 147 * 4))})
        self.assertIn(
            f"\nweights   {plain}, but for conv1.weight: of another shape "
            "there, drawn anew\n",
            self.run_job(*QUICK, "--weights", plain, "--out", "new"))
        self.assertIn(f"\nweights   {self.weights}\n",
                      self.run_job(*QUICK, "--weights", self.run_folder,
                                   "--out", "other"))

    def test_training_refuses_another_network(self):
        plain = self.plain_weights()
        self.assert_refused(
            rf"ringlet: {re.escape(plain)}: tensor 'conv1.weight' is f32 "
            r"\[16, 3, 3, 3\], expected f32 \[64, 3, 3, 3\]",
            self.start("train", "--model", "resnet18", "--weights", plain,
                       "--out", "new"))


if __name__ == "__main__":
    job.main()
