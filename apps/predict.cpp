#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/saved_model.h"
#include "engine/data/picture.h"
#include "engine/train/evaluate.h"

namespace ringlet {
namespace {

constexpr std::size_t kShown = 5;  // classes per picture

struct Prediction {
  std::vector<float> logits;
  std::vector<double> probabilities;  // their softmax
  std::vector<std::size_t> order;     // classes, the most probable first
};

Prediction predict(const float* row, std::size_t classes) {
  Prediction result{
      {row, row + classes}, {}, std::vector<std::size_t>(classes)};
  const double largest = *std::max_element(row, row + classes);
  double sum = 0;
  for (const float logit : result.logits) {
    result.probabilities.push_back(std::exp(logit - largest));
    sum += result.probabilities.back();
  }
  for (double& probability : result.probabilities) probability /= sum;
  std::iota(result.order.begin(), result.order.end(), 0);
  std::stable_sort(
      result.order.begin(), result.order.end(),
      [&](std::size_t a, std::size_t b) { return row[a] > row[b]; });
  result.order.resize(std::min(classes, kShown));
  return result;
}

void print(const std::string& picture, const ImageSet& set,
           const Prediction& prediction) {
  fmt::print("{}\n", picture);
  for (const std::size_t i : prediction.order) {
    fmt::print("  {:<14} {:6.2f} %\n", set.classes[i],
               100 * prediction.probabilities[i]);
  }
}

void print_json(const std::string& picture, const ImageSet& set,
                const Prediction& prediction) {
  nlohmann::ordered_json top = nlohmann::ordered_json::array();
  for (const std::size_t i : prediction.order) {
    top.push_back({{"class", set.classes[i]},
                   {"probability", prediction.probabilities[i]}});
  }
  const nlohmann::ordered_json line{
      {"picture", picture}, {"top", top}, {"logits", prediction.logits}};
  fmt::print("{}\n", line.dump(-1, ' ', false,
                               nlohmann::json::error_handler_t::replace));
}

}  // namespace

int predict_command(int argc, char** argv) {
  std::string path, trained_on, device = "auto";
  std::vector<std::string> files;
  bool json = false;
  CLI::App app(
      "Tells what is on pictures, PNG or JPEG of any size: the five most "
      "probable\nclasses. The largest centred square of each is scaled to "
      "32x32 (each pixel is\nthe mean of the area it covers) and normalised as "
      "in training. In f32, in one\nprocess.",
      "ringlet predict");
  app.option_defaults()->always_capture_default();
  app.add_option("CKPT", path,
                 "Weights: a safetensors file, the folder of a run or one of "
                 "its checkpoints/step-N")
      ->required();
  app.add_option("PICTURE", files, "Pictures")->required()->default_str("");
  app.add_option("--trained-on", trained_on,
                 "For weights that do not say it themselves: whose classes "
                 "they know, and by whose mean and deviation pictures are "
                 "normalised")
      ->default_str("")
      ->check(CLI::IsMember({"cifar10", "synthetic"}));
  app.add_option("--device", device, "Where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  app.add_flag("--json", json, "Print a JSON object per picture, with logits");
  if (!parse_or_help(app, argc, argv)) return 0;
  expect_one_process("predict");
  const SavedModel model = read_saved_model(path);
  ImageSet set = training_set_of(model, trained_on);
  for (const std::string& file : files) {
    append_picture(read_picture(file), set);
  }
  const Device where = compute_options(device, "f32").device;
  model.net->to(where);
  const Tensor logits = classify(*model.net, set, where);
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::size_t classes = set.classes.size();
    const Prediction result = predict(logits.data() + i * classes, classes);
    (json ? print_json : print)(files[i], set, result);
  }
  return 0;
}

}  // namespace ringlet
