#!/usr/bin/env python3
"""Has TensorBoard's own reader read what `ringlet train --tensorboard` writes.

Compares every scalar with metrics.jsonl, of a run that was stopped and went on.
Exits with 1 where one differs, with 77 where the package is missing:

    pip install tensorboard
    scripts/build release ringlet
    python3 bench/peers/tensorboard_reads.py
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

try:
    import tensorboard
    from tensorboard.backend.event_processing.event_accumulator import (
        EventAccumulator)
except ImportError as error:
    print(f"{error}: this check needs tensorboard")
    sys.exit(77)

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests/apps"))
import tensorboard_test  # noqa: E402


def train(*options):
    subprocess.run([str(word) for word in (
        REPOSITORY / "build/release/bin/ringlet", "train", *options)],
        check=True, stdout=subprocess.DEVNULL)


def main():
    with tempfile.TemporaryDirectory() as name:
        run = pathlib.Path(name, "run")
        train("--model", "resnet20", "--batch-size", 4, "--device", "cpu",
              "--tensorboard", "--steps", 3, "--checkpoint-steps", 2, "--out",
              run)
        train("--resume", run / "checkpoints/step-2", "--steps", 5)
        # 0: keeps all of them.
        events = EventAccumulator(str(run / "tensorboard"), {"scalars": 0})
        events.Reload()
        found = {(tag, event.step): event.value
                 for tag in events.Tags()["scalars"]
                 for event in events.Scalars(tag)}
        wanted = tensorboard_test.scalars_of(map(json.loads, (
            run / "metrics.jsonl").read_text().splitlines()))
    wrong = [key for key in found.keys() | wanted.keys()
             if not math.isclose(found.get(key, math.nan),
                                 wanted.get(key, math.nan), rel_tol=1e-6)]
    print(f"TensorBoard {tensorboard.__version__}: {len(wanted)} scalars, "
          f"{len(wrong)} read otherwise: {sorted(wrong)}")
    sys.exit(bool(wrong) or not wanted)


if __name__ == "__main__":
    main()
