#include <fmt/format.h>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/mpirun.h"
#include "apps/saved_model.h"
#include "engine/io/weights.h"

// Weights to and from torchvision. Names, shapes and types are the same on both
// sides, so that there is nothing to convert: `export` checks and copies,
// `import` checks and tells.
namespace ringlet {

int export_command(int argc, char** argv) {
  std::string path, out;
  CLI::App app(
      "Writes weights as a safetensors file that torchvision's ResNet of that "
      "name loads\nstrictly: its names, shapes and types, with "
      "num_batches_tracked.",
      "ringlet export");
  app.add_option("CKPT", path,
                 "Weights: a safetensors file, the folder of a run or one of "
                 "its checkpoints/step-N")
      ->required();
  app.add_option("FILE", out, "File to write; replaced if it is there")
      ->required();
  if (!parse_or_help(app, argc, argv)) return 0;
  expect_one_process("export");
  const SavedModel model = read_saved_model(path);
  Metadata metadata = model.metadata;
  metadata["model"] = model.kind.name;
  metadata["stem"] = name_of(model.kind.options.stem);
  metadata["format"] =
      "pt";  // what PyTorch's own writer says, and some ask for
  save_weights(out, *model.net, metadata);
  fmt::print("weights   {}: {}\nwritten   {}: {} tensors\n",
             model.file.string(), model.description(), out,
             model.net->state().size());
  return 0;
}

int import_command(int argc, char** argv) {
  std::string path;
  CLI::App app(
      "Says whether a safetensors file holds the weights of a ResNet that "
      "Ringlet has,\nof which kind, and how to train from them. Nothing has to "
      "be converted: train\n--weights, eval and predict read the file as it "
      "is.",
      "ringlet import");
  app.add_option("FILE", path,
                 "A state dict of torchvision's, saved as safetensors")
      ->required();
  if (!parse_or_help(app, argc, argv)) return 0;
  expect_one_process("import");
  const SavedModel model = read_saved_model(path);
  fmt::print(
      "weights   {}: {}\n"
      "all tensors fit; to train from them:\n"
      "  {}\n",
      model.file.string(), model.description(),
      shell_line({"ringlet", "train", "--model", model.kind.name, "--stem",
                  name_of(model.kind.options.stem), "--weights",
                  model.file.string()}));
  return 0;
}

}  // namespace ringlet
