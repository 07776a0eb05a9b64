#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/saved_model.h"
#include "engine/data/cifar10.h"
#include "engine/data/synthetic.h"
#include "engine/train/evaluate.h"

namespace ringlet {
namespace {

// What a model made of a set's pictures.
struct Outcome {
  double loss = 0;                                  // mean over the pictures
  std::vector<std::vector<std::size_t>> confusion;  // [true class][answer]

  std::size_t of(std::size_t label) const {
    std::size_t count = 0;
    for (const std::size_t answers : confusion[label]) count += answers;
    return count;
  }
  std::size_t right() const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < confusion.size(); ++i) count += confusion[i][i];
    return count;
  }
};

Outcome judge(const Tensor& logits, const ImageSet& images) {
  const auto classes = static_cast<std::size_t>(logits.dim(1));
  Outcome outcome;
  outcome.confusion.assign(classes, std::vector<std::size_t>(classes));
  for (std::size_t i = 0; i < images.count(); ++i) {
    const float* row = logits.data() + i * classes;
    const float* largest = std::max_element(row, row + classes);
    double sum = 0;
    for (std::size_t k = 0; k < classes; ++k) {
      sum += std::exp(static_cast<double>(row[k]) - *largest);
    }
    const std::size_t label = images.labels[i];
    outcome.loss += std::log(sum) + *largest - static_cast<double>(row[label]);
    ++outcome.confusion[label][static_cast<std::size_t>(largest - row)];
  }
  outcome.loss /= static_cast<double>(images.count());
  return outcome;
}

ImageSet read_test_set(const std::string& data) {
  return data == "synthetic" ? make_synthetic(0).test : read_cifar10_test(data);
}

// Labels that mean other things would give a figure that means nothing.
void check_classes(const SavedModel& model, const ImageSet& images,
                   const std::string& data) {
  const bool silent = !model.metadata.contains("classes");
  const auto expected =
      silent ? images.classes : training_set_of(model, "").classes;
  if (expected == images.classes &&
      expected.size() == model.kind.options.classes) {
    return;
  }
  throw Error(
      fmt::format("--data {}: has the classes {}, but {} tells {} apart", data,
                  fmt::join(images.classes, ", "), model.file.string(),
                  silent ? std::to_string(model.kind.options.classes)
                         : fmt::format("{}", fmt::join(expected, ", "))));
}

double share(std::size_t part, std::size_t whole) {
  return whole == 0 ? 0
                    : static_cast<double>(part) / static_cast<double>(whole);
}

nlohmann::ordered_json to_json(const SavedModel& model, const ImageSet& images,
                               const Outcome& outcome) {
  return {{"weights", model.file.string()},
          {"model", model.kind.name},
          {"stem", name_of(model.kind.options.stem)},
          {"data", images.name},
          {"pictures", images.count()},
          {"accuracy", share(outcome.right(), images.count())},
          {"loss", outcome.loss},
          {"classes", images.classes},
          {"confusion", outcome.confusion}};
}

void print(const SavedModel& model, const ImageSet& images,
           const Outcome& outcome) {
  fmt::print(
      "weights   {}: {}\n"
      "data      {}, {} pictures\n"
      "accuracy  {:.2f} %\n"
      "loss      {:.4f}\n\n"
      "class               right pictures, taken for: the classes in this "
      "order\n",
      model.file.string(), model.description(), images.name, images.count(),
      100 * share(outcome.right(), images.count()), outcome.loss);
  for (std::size_t i = 0; i < images.classes.size(); ++i) {
    const std::size_t count = outcome.of(i);
    fmt::print("{:<16} {:6.2f} %    {:5}", images.classes[i],
               100 * share(outcome.confusion[i][i], count), count);
    for (const std::size_t answers : outcome.confusion[i]) {
      fmt::print(" {:4}", answers);
    }
    fmt::print("\n");
  }
}

}  // namespace

int eval_command(int argc, char** argv) {
  std::string path, data = "synthetic", device = "auto";
  bool json = false;
  CLI::App app(
      "Evaluates weights on test pictures: accuracy, loss, and how many "
      "pictures of\neach class were taken for which. In f32, in one process.",
      "ringlet eval");
  app.option_defaults()->always_capture_default();
  app.add_option("CKPT", path,
                 "Weights: a safetensors file, the folder of a run or one of "
                 "its checkpoints/step-N")
      ->required();
  app.add_option("--data", data,
                 "\"synthetic\" (built in) or a folder with CIFAR-10's "
                 "test_batch.bin");
  app.add_option("--device", device, "Where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_flag("--json", json, "Print one JSON object instead");
  if (!parse_or_help(app, argc, argv)) return 0;
  expect_one_process("eval");
  const SavedModel model = read_saved_model(path);
  const ImageSet images = read_test_set(data);
  check_classes(model, images, data);
  const Device where = compute_options(device, "f32").device;
  model.net->to(where);
  const Outcome outcome = judge(classify(*model.net, images, where), images);
  if (json) {
    fmt::print("{}\n", to_json(model, images, outcome)
                           .dump(-1, ' ', false,
                                 nlohmann::json::error_handler_t::replace));
  } else {
    print(model, images, outcome);
  }
  return 0;
}

}  // namespace ringlet
