"""What allreduce_perf prints, refuses and writes; no test looks at a time."""

import csv
import json
import re

import job

FEW = ("-n", 3, "-w", 1)  # below what a grade of noise needs
ROW = re.compile(r"^ +\d+ .*$", re.MULTILINE)


class AllreducePerfTest(job.JobTest):
    def rows(self, *arguments, ranks=2):
        output = self.run_job(*FEW, *arguments, "-J", "out.json", ranks=ranks)
        result = json.loads((self.folder / "out.json").read_text())
        return output, result["results"]

    def test_the_table_has_nccl_tests_columns(self):
        output, rows = self.rows("-b", "1K", "-e", "4K", "-f", 2)
        self.assertIn("# Out of bounds values : 0 OK\n", output)
        self.assertRegex(output, r"# Avg bus bandwidth    : \d")
        self.assertRegex(output, r"#       size +count +type +redop +root +"
                         r"time +algbw +busbw +#wrong +time +algbw +busbw "
                         r"+#wrong +backend")
        printed = [line.split() for line in ROW.findall(output)]
        self.assertEqual(
            [(line[0], line[1], *line[2:5], line[8], line[12], line[13])
             for line in printed],
            [(str(size), str(size // 4), "float", "sum", "-1", "0", "0", name)
             for size in (1024, 2048, 4096) for name in ("ring", "mpi")])
        for row, line in zip(rows, printed):
            for place, at in (("out_of_place", 5), ("in_place", 9)):
                figures = row[place]
                self.assertAlmostEqual(float(line[at]), figures["time"],
                                       delta=0.01 + figures["time"] / 100)
                self.assertAlmostEqual(
                    figures["alg_bw"], row["size"] / figures["time"] / 1e3)
                self.assertAlmostEqual(figures["bus_bw"], figures["alg_bw"])
                self.assertEqual(len(figures["times_us"]), 3)

    def test_bus_bandwidth_counts_what_must_be_moved(self):
        factors = {"all_reduce": 4 / 3, "reduce_scatter": 2 / 3,
                   "all_gather": 2 / 3, "reduce": 1, "broadcast": 1}
        for op, factor in factors.items():
            with self.subTest(op):
                _, rows = self.rows("--op", op, "-b", "12K", "-e", "12K",
                                    ranks=3)
                self.assertEqual(len(rows), 2)
                for row in rows:
                    figures = row["in_place"]
                    self.assertEqual(row["size"], 12 << 10)
                    self.assertEqual(figures["nwrong"], 0)
                    self.assertAlmostEqual(
                        figures["bus_bw"], factor * figures["alg_bw"])

    def test_all_types_and_operations_are_right(self):
        _, rows = self.rows("-b", 1000, "-e", 1000, "-d", "all", "-o", "all",
                            "--backends", "ring,mpi,tree,ordered,auto")
        kinds = {(row["type"], row["redop"]) for row in rows}
        # An average of integers is none.
        self.assertEqual(len(kinds), 7 * 5 - 3)
        for row in rows:
            for place in ("out_of_place", "in_place"):
                self.assertEqual(row[place]["nwrong"], 0, row)
        for row in rows:
            if row["type"] == "float" and row["redop"] == "sum":
                self.assertLessEqual(row["in_place"]["max_ulp"], 0.5)

    def test_odd_sizes_and_none(self):
        _, rows = self.rows("-b", 0, "-e", 40, "-i", 4, "--backends",
                            "ring:8,recursive_doubling", ranks=3)
        self.assertEqual([row["count"] for row in rows[::2]], list(range(11)))
        for row in rows:
            self.assertEqual(row["in_place"]["nwrong"], 0)

    def test_csv_and_osu(self):
        lines = self.run_job(*FEW, "-b", 64, "-e", 64, "--format", "csv",
                             ranks=2).splitlines()
        rows = list(csv.DictReader(lines))
        self.assertEqual([(row["backend"], row["placement"]) for row in rows],
                         [("ring", "out"), ("ring", "in"), ("mpi", "out"),
                          ("mpi", "in")])
        self.assertEqual(rows[3]["ratio"], "1.0000")
        osu = self.run_job(*FEW, "-b", 64, "-e", 128, "-f", 2, "--format",
                           "osu", "--backends", "ring", ranks=2)
        self.assertEqual(
            osu.splitlines()[2],
            "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)"
            "  Iterations")
        self.assertEqual([line.split()[0] for line in osu.splitlines()[3:]],
                         ["64", "128"])

    def test_spread_of_the_samples(self):
        output, _ = self.rows("-b", 64, "-e", 64, "-I", 1, "-S", 1)
        self.assertRegex(output, "i_min +i_max +i_p99 +i_cv%")
        self.assertRegex(ROW.findall(output)[0], r"\d{4}-\d\d-\d\d \d\d:\d\d")

    def test_bytes_are_counted_against_the_bound(self):
        for backend, wire in (("ring", 1), ("ordered", 1), ("naive", 1.5),
                              ("tree", 1.5), ("mpi", None)):
            output, rows = self.rows("-b", "24K", "-e", "24K", "--backends",
                                     backend, ranks=3)
            sent = rows[0]["bytes_sent_busiest"]
            if wire is None:
                self.assertIsNone(sent)
            else:
                # Of 4/3 of the array that each rank must send.
                self.assertEqual(sent, wire * 4 / 3 * (24 << 10), backend)
                self.assertEqual(ROW.findall(output)[0].split()[17],
                                 f"{wire:g}")

    def test_16_bits_on_the_wire(self):
        for op in ("sum", "avg"):
            _, rows = self.rows(
                "-b", "24K", "-e", "24K", "-o", op, "--backends",
                "ring,ring+bf16,ordered:1K+f16+guard,auto+bf16", ranks=3)
            for row in rows:
                self.assertEqual(row["in_place"]["nwrong"], 0, row)
                self.assertEqual(row["out_of_place"]["nwrong"], 0, row)
            for row, wire in zip(rows, (1, 0.5, 0.5)):
                self.assertEqual(row["bytes_sent_busiest"],
                                 wire * 4 / 3 * (24 << 10), row["backend"])
        _, rows = self.rows("-b", "24K", "-e", "24K", "--backends",
                            "ring,ring+bf16", ranks=3)
        # Of f32's units: 3 roundings of 2^-8 at most, and seen.
        price = rows[1]["in_place"]["max_ulp"]
        self.assertTrue(2 ** 14 < price < 3 * 2 ** 16, price)
        output = self.run_job(*FEW, "-b", 64, "-e", "256K", "-f", 8,
                              "--backends", "ring:8K,ring:8K+bf16", ranks=2)
        self.assertEqual(output.count("# Model of"), 1)

    def test_one_call_can_be_recorded(self):
        self.rows("-b", "1M", "-e", "1M", "--trace", "trace.json")
        trace = json.loads((self.folder / "trace.json").read_text())
        sent = sum(event["args"]["bytes"] for event in trace["traceEvents"]
                   if event["ph"] == "X" and event["name"].startswith("send"))
        self.assertEqual(sent, 2 << 20)  # by two ranks, S each

    def test_models_and_predictions(self):
        output, _ = self.rows("-b", 64, "-e", "256K", "-f", 8, "--predict", 16,
                              "--link-latency-us", 20, "--link-gbs", 1.25)
        self.assertRegex(output, r"# Model of ring on 2 ranks: alpha [\d.e+-]+")
        self.assertIn("# Predicted, not measured: ring on 16 ranks; latency 20 "
                      "us (assumed)", output)
        self.assertIn("16 ranks are beyond twice what was measured", output)
        # 30 messages of 20 us at least.
        first = re.search(r"busbw \(GB/s\)\n# +64 +([\d.]+)", output)
        self.assertGreater(float(first[1]), 30 * 20)

    def test_tuning_writes_the_table_that_auto_reads(self):
        for ranks in (2, 3):
            self.run_job(*FEW, "--tune=table.json", "-b", "1K", "-e", "4K",
                         "-f", 2, "--backends", "mpi,ring:1K", ranks=ranks)
        table = json.loads((self.folder / "table.json").read_text())
        self.assertEqual({row["ranks"] for row in table["choices"]}, {2, 3})
        # Three samples prove nothing, so everything stays with MPI.
        self.assertEqual({row["algorithm"] for row in table["choices"]},
                         {"mpi"})
        _, rows = self.rows("-b", "1K", "-e", "1K", "--backends", "auto",
                            "--comm-table", "table.json")
        self.assertEqual(rows[0]["in_place"]["nwrong"], 0)

    def test_nccl_tests_usual_options_are_taken(self):
        output = self.run_job("-b", 8, "-e", 16, "-f", 2, "-g", 1, "-t", 1,
                              "-m", 1, "-G", 0, "-n", 2, "-w", 0, ranks=2)
        self.assertEqual([line.split()[0] for line in ROW.findall(output)],
                         ["8", "8", "16", "16"])

    def test_lists_leave_out_what_cannot_be(self):
        _, rows = self.rows("-b", 64, "-e", 64, "-d", "all", "-o", "avg")
        self.assertEqual({row["type"] for row in rows},
                         {"float", "double", "half", "bfloat16"})
        _, rows = self.rows("--op", "broadcast", "-b", 64, "-e", 64, "-o",
                            "all")
        self.assertEqual([row["redop"] for row in rows], ["none", "none"])

    def test_what_is_not_ours_is_refused_by_name(self):
        for arguments, message in (
                ("-g 2", "-g is nccl-tests', not ours: a rank has one GPU: "
                         "start more ranks"),
                ("-G 1", "-G is nccl-tests', not ours"),
                ("-b 1X", "'1X' is no size"),
                ("-b 8 -e 4", "-e: 4 bytes, expected at least -b's 8"),
                ("-f 1", "-f: 1, expected more than 1"),
                ("-d int8", "-d: 'int8', expected one of float, "),
                ("-o xor", "-o: 'xor', expected one of sum, "),
                ("--op scan", "--op: 'scan', expected one of all_reduce"),
                ("--backends rng", "--backends: unknown 'rng'"),
                ("--backends nccl", "'nccl' expects --device cuda"),
                ("--backends ring+pinned", "expects --device cuda"),
                ("--backends mpi+bf16", "'mpi+bf16' has no wire of 16 bits"),
                ("--backends shared+f16", "has no wire of 16 bits"),
                ("--backends ring+bf16+f16", "--backends: unknown 'ring+bf16"),
                ("--backends ring+f16 -d double -b 8 -e 8",
                 "1 f64, sum, f16 on the wire: expected f16 or bf16 on"),
                ("--tune=t.json --backends mpi,ring:1K+bf16",
                 "'ring:1K+bf16' among --backends, expected what a table can"),
                ("--device cuda", "--device cuda: no GPU can be used: "),
                ("--device gpu", "--device: gpu not in {cpu,cuda}"),
                ("--backends mpi:9", "expected a slice behind ours, or 1 to 6"),
                ("--baseline tree", "--baseline: tree, expected one of"),
                ("--format osu", "--format osu: expected one of --backends"),
                ("--backends mpi --trace t.json", "--trace: expected one of"),
                ("--tune=t.json --backends ring", "expected mpi among"),
                ("--predict 8 --format csv", "expected --format table"),
                ("--backends ring:4 -b 4 -e 4", "ring: a slice of 4 bytes"),
                ("-o avg -d int32 -b 4 -e 4", "avg of i32"),
                ("--comm-table none.json --backends auto -b 4 -e 4",
                 "cannot read the table of algorithms none.json")):
            with self.subTest(arguments):
                process = self.start(*arguments.split(), ranks=2)
                output, errors = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 1)
                lines = [line for line in errors.splitlines()
                         if line.startswith("allreduce_perf: ")]
                self.assertEqual(len(lines), 1, errors)
                self.assertIn(message, lines[0])

    def test_a_row_that_takes_too_long_ends_the_job(self):
        process = self.start("-b", "64M", "-e", "64M", "-n", 100000, "-T", 1,
                             ranks=2)
        _, errors = process.communicate(timeout=60)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("all_reduce of 67108864 bytes by ring, mpi took more "
                      "than 1 s (-T)", errors)


if __name__ == "__main__":
    job.main()
