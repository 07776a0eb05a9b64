"""`ringlet explain`: what it draws, and that its JSON tells the same."""

import json

import job

ALGORITHMS = ("ring", "naive", "tree", "recursive_doubling")


class ExplainTest(job.JobTest):
    def test_picture_of_two_ranks(self):
        self.assertEqual(self.run_job("explain", "ring", "-n", 2), """\
ring, 2 ranks, 4 elements, 2 steps. Below each step: whose contributions
are in each chunk that a rank holds.

step 0, reduce-scatter
    1 -> 0  chunk 0 [0, 2), added
    0 -> 1  chunk 1 [2, 4), added
    rank 0   | all | 0   |
    rank 1   | 1   | all |

step 1, all-gather
    1 -> 0  chunk 1 [2, 4)
    0 -> 1  chunk 0 [0, 2)
    rank 0   | all | all |
    rank 1   | all | all |
""")

    def test_contributions_are_listed(self):
        output = self.run_job("explain", "naive", "-n", 8)
        for text in ("rank 0   | 0-4 |", "rank 0   | 0+1 |"):
            self.assertIn(text, output)

    def test_json(self):
        for algorithm in ALGORITHMS:
            for ranks in (1, 3, 8, 64):
                with self.subTest(algorithm=algorithm, ranks=ranks):
                    document = json.loads(self.run_job(
                        "explain", algorithm, "-n", ranks, "--json",
                        "--count", 3 * ranks))
                    self.assertEqual(document["algorithm"], algorithm)
                    everybody = list(range(ranks))
                    for chunks in (document["steps"][-1]["contributions_after"]
                                   if ranks > 1 else []):
                        for chunk in chunks:
                            self.assertEqual(chunk, everybody)
                    sent = sum(message["count"] for step in document["steps"]
                               for message in step["messages"])
                    if algorithm in ("ring", "naive", "tree"):
                        self.assertEqual(sent, 2 * (ranks - 1) * 3 * ranks)

    def test_bad_calls(self):
        for words, message in (
                (["star"], "algorithm: star not in {.+}"),
                (["ring", "-n", 65], "--ranks: '65', expected a whole number "
                 "from 1 to 64"),
                (["ring", "-n", 0], "--ranks: '0', expected .+"),
                (["ring", "--count", -1], "--count: '-1', expected .+")):
            self.assert_refused(f"ringlet: {message}; see ringlet explain "
                                "--help", self.start("explain", *words))
        self.assertIn("Draws an all-reduce", self.run_job("explain", "--help"))


if __name__ == "__main__":
    job.main()
