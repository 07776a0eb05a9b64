"""ringlet train --recipe: options from a file, and what overrides them."""

import json

import job

RECIPES = job.ROOT / "recipes"

# Of their options those that make them what they are.
SEED = {"model": "resnet50", "batch_size": 128, "epochs": 10, "lr": 0.1,
        "schedule": "multistep", "milestones": [5, 8], "optimizer": "sgd",
        "momentum": 0.9, "weight_decay": 5e-4, "base_batch": 0}
PROMISED = {
    "seed": SEED,
    "seed-2-ranks": {**SEED, "lr": 0.2},
    "ddp-linear-scaling": {"model": "resnet50", "batch_per_rank": 128,
                           "lr": 0.1, "base_batch": 128, "warmup_epochs": 5},
    "fast-cifar": {"model": "resnet50", "epochs": 20},
    "large-batch-lars": {"model": "resnet50", "batch_size": 4096,
                         "optimizer": "lars"}}


class RecipeTest(job.JobTest):
    def write(self, text):
        (self.folder / "my.recipe").write_text(text)

    def options(self, run="run"):
        config = json.loads((self.folder / run / "config.json").read_text())
        return config["options"]

    def test_options_come_from_the_file_unless_given(self):
        self.write("# What it is.\n#  More of it.\n\nmodel = resnet20\nlr=0.25\n"
                   "nesterov\nschedule = constant  \nepochs = 3\n# a remark\n"
                   "batch-per-rank = 2\n")
        output = self.run_job("train", "--recipe", "./my.recipe", "--lr", 0.5,
                              "--steps", 2, "--out", "run", "--threads", 1,
                              ranks=2)
        self.assertTrue(output.startswith(
            "recipe    ./my.recipe\n          What it is.\n"
            "          More of it.\nmodel     resnet20 "), output)
        options = self.options()
        for name, value in (("recipe", "./my.recipe"), ("model", "resnet20"),
                            ("lr", 0.5), ("nesterov", True), ("epochs", 0),
                            ("schedule", "constant"), ("steps", 2),
                            ("batch_size", 4)):
            self.assertEqual(options[name], value, name)

    def test_a_flag_can_be_switched_off(self):
        """By the recipe, and on the command line what the recipe has on."""
        self.write("model = resnet20\nsteps = 1\nbatch-size = 4\nnesterov\n"
                   "no-decay-bn-bias = true\nzero-init-residual = false\n")
        self.run_job("train", "--recipe", "./my.recipe", "--nesterov=false",
                     "--out", "run", "--threads", 1)
        options = self.options()
        for name, value in (("nesterov", False), ("no_decay_bn_bias", True),
                            ("zero_init_residual", False)):
            self.assertEqual(options[name], value, name)

    def test_a_recipe_for_other_ranks_says_so(self):
        self.write("ranks = 2\nmodel = resnet20\nsteps = 1\nbatch-size = 4\n")
        warning = ("warning   ./my.recipe is for 2 rank(s), expected mpirun "
                   "-np 2\n")
        for ranks in (1, 2):
            output = self.run_job("train", "--recipe", "./my.recipe", "--out",
                                  f"run{ranks}", "--threads", 1, ranks=ranks)
            self.assertEqual(warning in output, ranks == 1)

    def test_a_resumed_run_keeps_its_options(self):
        self.write("model = resnet20\nlr = 0.25\nbatch-size = 4\nsteps = 2\n"
                   "checkpoint-steps = 1\n")
        self.run_job("train", "--recipe", "./my.recipe", "--out", "run")
        self.write("model = resnet32\nlr = 0.75\n")
        self.run_job("train", "--resume", "run", "--steps", 3)
        self.assertEqual(self.options()["lr"], 0.25)
        self.assertEqual(self.options()["model"], "resnet20")

    def test_every_recipe_is_valid(self):
        """Each trains a step of a small network on the built-in pictures."""
        self.assertEqual(sorted(path.stem for path in
                                RECIPES.glob("*.recipe")), sorted(PROMISED))
        for name in PROMISED:
            with self.subTest(name):
                output = self.run_job(
                    "train", "--recipe", name, "--model", "resnet20",
                    "--steps", 1, "--batch-size", 4, "--out", name,
                    "--threads", 1)
                self.assertIn(f"/{name}.recipe\n", output)
                # Its comment says on what it was run.
                self.assertIn("\n          Not yet run on a GPU.\n", output)
                self.assertEqual(" is for 2 rank(s), " in output,
                                 name == "seed-2-ranks")

    def test_recipes_are_what_they_promise(self):
        """Without other options; such a run is ended in its first step."""
        for name, promised in PROMISED.items():
            with self.subTest(name):
                process = self.start("train", "--recipe", name, "--out", name)
                while not process.stdout.readline().startswith("gradients"):
                    self.assertIsNone(process.poll())
                process.kill()
                process.communicate()
                options = self.options(name)
                self.assertEqual({option: options[option]
                                  for option in promised}, promised)

    def test_the_rate_grows_with_the_ranks(self):
        output = self.run_job("train", "--recipe", "ddp-linear-scaling",
                              "--model", "resnet20", "--steps", 1, ranks=2)
        self.assertIn("\nbatch     256 in all, 128 per rank on 2 ranks; ",
                      output)
        self.assertIn("\nrate      0.2 (--lr 0.1 x batch 256 / --base-batch "
                      "128), ", output)

    def test_what_cannot_be_read_is_refused(self):
        names = ", ".join(sorted(path.stem for path in
                                 RECIPES.glob("*.recipe")))
        self.assert_refused(
            rf"ringlet: --recipe seeds: \S+/seeds.recipe cannot be read, "
            rf"expected {names}, or the path of a file",
            self.start("train", "--recipe", "seeds", ranks=2))
        for text, message in (
                ("model = resnet20\n--lr = 1\n",
                 "my.recipe:2: '--lr = 1', expected an option without its "
                 "dashes, as \"lr = 0.1\""),
                ("learning rate = 1\n", "my.recipe:1: 'learning rate = 1', "),
                ("lr =\n", "my.recipe:1: 'lr =', "),
                ("ranks = two\n", "my.recipe:1: 'ranks = two', expected a "
                 "number of ranks, 1 or more"),
                ("lr = -1\n", "my.recipe: --lr: '-1', expected a number above "
                 "0; see ringlet train --help"),
                ("speed = 9\n", "my.recipe: unknown option '--speed=9'")):
            with self.subTest(text):
                self.write(text)
                self.assert_refused(
                    rf"ringlet: \./{message}.*",
                    self.start("train", "--recipe", "./my.recipe"))


if __name__ == "__main__":
    job.main()
