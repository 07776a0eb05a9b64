"""`ringlet train --tensorboard` and `ringlet metrics`: the same numbers as in
metrics.jsonl, read by a parser of our own."""

import csv
import io
import json
import struct

import job

OPTIONS = ["train", "--model", "resnet20", "--batch-size", 4, "--threads", 1]


def crc32c(data):
    """Bit by bit, as CRC-32C is defined."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(content):
    """The records of a TFRecord file; checks both checksums of each."""
    at = 0
    while at < len(content):
        header = content[at:at + 8]
        length, check = struct.unpack_from("<QI", content, at)
        assert check == masked(header), "checksum of a length"
        data = content[at + 12:at + 12 + length]
        (check,) = struct.unpack_from("<I", content, at + 12 + length)
        assert check == masked(data), "checksum of an event"
        yield data
        at += 16 + length


def fields(message):
    """(number, value) of a protocol buffer's fields, in their order."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift += 7
            at += 1
            if message[at - 1] < 0x80:
                return value, at

    at = 0
    while at < len(message):
        key, at = varint(at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(at)
        else:
            length, at = varint(at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = message[at:at + length], at + length
            if kind != 2:
                (value,) = struct.unpack({1: "<d", 5: "<f"}[kind], value)
        yield number, value


class Events:
    """An event file: its version, where it starts, {(tag, step): value}."""

    def __init__(self, path):
        version, start, *rest = map(dict, map(fields, records(
            path.read_bytes())))
        self.version = version[3]
        self.start, session = start[2], dict(fields(start[7]))
        assert session == {1: 1}, "status START"
        self.scalars = {}
        for event in rest:
            assert event[1] > 1.7e9, "seconds since 1970"
            for _, value in fields(event[5]):
                scalar = dict(fields(value))
                self.scalars[scalar[1].decode(), event[2]] = scalar[2]


def scalars_of(metrics):
    """{(tag, step): value} of the lines of metrics.jsonl."""
    scalars, step, skipped = {}, 0, 0
    for line in metrics:
        if line["kind"] == "step":
            step = line["step"]
            skipped += line.get("skipped", False)
            wanted = {"train/skipped": skipped}
            wanted |= {f"train/{name}": line[name] for name in (
                "loss", "accuracy", "lr", "gradient_norm", "epoch",
                "images_per_second")}
            wanted |= {f"seconds/{phase}": seconds
                       for phase, seconds in line["time"].items()}
        else:
            wanted = {"epoch/seconds": line["seconds"]}
            wanted |= {f"{tag}/{name}": line[part][name]
                       for tag, part in (("epoch", "train"),
                                         ("validation", "validation"))
                       for name in ("loss", "accuracy")}
        scalars |= {(tag, step): value for tag, value in wanted.items()}
    return scalars


class TensorBoardTest(job.JobTest):
    def events(self):
        folder = self.folder / "run" / "tensorboard"
        return [Events(path) for path in sorted(folder.iterdir())]

    def metrics(self):
        lines = (self.folder / "run" / "metrics.jsonl").read_text()
        return [json.loads(line) for line in lines.splitlines()]

    def assert_same(self, scalars, metrics):
        wanted = scalars_of(metrics)
        self.assertEqual(scalars.keys(), wanted.keys())
        for key, value in wanted.items():
            self.assertAlmostEqual(scalars[key], value, delta=1e-6 * abs(value))

    def test_a_run_that_is_stopped_and_goes_on(self):
        self.run_job(*OPTIONS, "--steps", 3, "--tensorboard",
                     "--checkpoint-steps", 2, "--out", "run", ranks=2)
        (first,) = self.events()
        self.assertEqual((first.version, first.start),
                         (b"brain.Event:2", 1))
        self.assert_same(first.scalars, self.metrics())
        self.assertEqual({step for _, step in first.scalars}, {1, 2, 3})
        # From the checkpoint after step 2; --tensorboard holds.
        self.run_job("train", "--resume", "run", "--steps", 5, ranks=2)
        first, second = self.events()
        self.assertEqual(second.start, 3)
        self.assertEqual({step for _, step in second.scalars}, {3, 4, 5})
        # As TensorBoard joins them.
        joined = {key: value for key, value in first.scalars.items()
                  if key[1] < second.start} | second.scalars
        self.assert_same(joined, self.metrics())

    def test_none_without_the_option(self):
        self.run_job(*OPTIONS, "--steps", 1, "--out", "run")
        self.assertFalse((self.folder / "run" / "tensorboard").exists())

    def test_csv(self):
        self.run_job(*OPTIONS, "--steps", 3, "--out", "run")
        file = self.folder / "run" / "metrics.jsonl"
        with file.open("a") as metrics:
            metrics.write('{"kind":"step","step":4,"loss":null}\n{"kind":"st')
        *steps, epoch, unfinished = map(json.loads, file.read_text()
                                        .splitlines()[:-1])
        rows = list(csv.DictReader(io.StringIO(
            self.run_job("metrics", "run"))))
        self.assertEqual(len(rows), 4)
        for row, step in zip(rows, steps):
            for name in ("step", "epoch", "loss", "accuracy", "lr",
                         "gradient_norm", "images", "images_per_second"):
                self.assertEqual(float(row[name]), step[name], name)
            for phase, seconds in step["time"].items():
                self.assertEqual(float(row[f"{phase}_seconds"]), seconds)
            self.assertEqual((row["device_seconds"], row["skipped"]),
                             ("", ""))
        self.assertEqual((rows[3]["step"], rows[3]["loss"]), ("4", ""))
        (row,) = csv.DictReader(io.StringIO(
            self.run_job("metrics", "run", "--epochs")))
        for part in ("train", "validation"):
            for name in ("loss", "accuracy"):
                self.assertEqual(float(row[f"{part}_{name}"]),
                                 epoch[part][name])

    def test_csv_of_what_is_none(self):
        run = self.folder / "run"
        run.mkdir()
        self.assert_refused(
            "ringlet: none/metrics.jsonl: cannot be read, expected the folder "
            "of a run", self.start("metrics", "none"))
        for line in ("{}", "[1]", "nonsense"):
            (run / "metrics.jsonl").write_text(
                '{"kind":"epoch"}\n' + line + "\n")
            self.assert_fails(
                self.start("metrics", "run"),
                r'ringlet: run/metrics.jsonl: line 2: expected an object with '
                r'a "kind"')


if __name__ == "__main__":
    job.main()
