#include <fmt/ranges.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/saved_model.h"
#include "kernels/runtime/error.h"

// `ringlet metrics RUN`: metrics.jsonl as a table. It is made when it is asked
// for, so there is no second file that a resumed run would have to cut.

namespace ringlet {
namespace {

using Json = nlohmann::json;

// A column of a table, and where a line of metrics.jsonl has its value.
struct Column {
  const char* name;
  const char* place;
};

constexpr Column kSteps[] = {{"step", "/step"},
                             {"epoch", "/epoch"},
                             {"loss", "/loss"},
                             {"accuracy", "/accuracy"},
                             {"lr", "/lr"},
                             {"gradient_norm", "/gradient_norm"},
                             {"images", "/images"},
                             {"images_per_second", "/images_per_second"},
                             {"skipped", "/skipped"},
                             {"data_seconds", "/time/data"},
                             {"forward_seconds", "/time/forward"},
                             {"backward_seconds", "/time/backward"},
                             {"communication_seconds", "/time/communication"},
                             {"optimizer_seconds", "/time/optimizer"},
                             {"device_seconds", "/time/device"}};
constexpr Column kEpochs[] = {{"epoch", "/epoch"},
                              {"seconds", "/seconds"},
                              {"train_loss", "/train/loss"},
                              {"train_accuracy", "/train/accuracy"},
                              {"validation_loss", "/validation/loss"},
                              {"validation_accuracy", "/validation/accuracy"},
                              {"validation_pictures", "/validation/pictures"}};

// Empty where there is none, as of what was not finite.
std::string cell(const Json& line, const char* place) {
  const Json::json_pointer pointer(place);
  if (!line.contains(pointer)) return "";
  const Json& value = line.at(pointer);
  return value.is_null() ? "" : value.dump();
}

void print_table(const std::filesystem::path& path, const std::string& kind,
                 std::span<const Column> columns) {
  std::ifstream file(path);
  if (!file) {
    throw Error(fmt::format("{}: cannot be read, expected the folder of a run",
                            path.string()));
  }
  std::vector<std::string> cells;
  for (const Column& column : columns) cells.emplace_back(column.name);
  fmt::print("{}\n", fmt::join(cells, ","));
  std::string text;
  // A last line without an end is one that a run is writing, or has not
  // finished when it was killed.
  for (int number = 1; std::getline(file, text) && !file.eof(); ++number) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object() || !line.contains("kind")) {
      throw Error(fmt::format("{}: line {}: expected an object with a \"kind\"",
                              path.string(), number));
    }
    if (line["kind"] != kind) continue;
    cells.clear();
    for (const Column& column : columns) {
      cells.push_back(cell(line, column.place));
    }
    fmt::print("{}\n", fmt::join(cells, ","));
  }
}

}  // namespace

int metrics_command(int argc, char** argv) {
  std::string run;
  bool epochs = false;
  CLI::App app(
      "Prints what metrics.jsonl holds as CSV: a line for each step, or for "
      "each epoch.\nA cell is empty where there is no value, as of a loss "
      "that was not finite.",
      "ringlet metrics");
  app.add_option("RUN", run, "Folder of a run")->required();
  app.add_flag("--epochs", epochs, "Of epochs, not of steps");
  if (!parse_or_help(app, argc, argv)) return 0;
  expect_one_process("metrics");
  const std::filesystem::path path =
      std::filesystem::path(run) / "metrics.jsonl";
  if (epochs) {
    print_table(path, "epoch", kEpochs);
  } else {
    print_table(path, "step", kSteps);
  }
  return 0;
}

}  // namespace ringlet
