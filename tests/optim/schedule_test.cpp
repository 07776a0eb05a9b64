#include "engine/optim/schedule.h"

#include <nlohmann/json.hpp>

#include "engine/io/safetensors.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

ScheduleOptions options_of(const nlohmann::json& json, std::size_t steps) {
  return {.kind = parse_schedule(json.at("kind")),
          .base_lr = json.at("base_lr"),
          .milestones = json.at("milestones"),
          .gamma = json.at("gamma"),
          .warmup_epochs = json.at("warmup_epochs"),
          .steps_per_epoch = json.at("steps_per_epoch"),
          .total_steps = steps};
}

}  // namespace

TEST_CASE("Schedules give PyTorch's rates at every step") {
  const auto file = read_safetensors(std::string(RINGLET_FIXTURES) +
                                     "/schedules.safetensors");
  REQUIRE(file.tensors.size() == 9);
  for (const auto& [name, rates] : file.tensors) {
    INFO(name << ": " << file.metadata.at(name));
    const auto options = options_of(
        nlohmann::json::parse(file.metadata.at(name)), rates.count());
    for (std::size_t step = 0; step < rates.count(); ++step) {
      INFO("step " << step);
      // PyTorch multiplies from step to step, so its last digits drift.
      CHECK(learning_rate(options, step) ==
            Approx(rates.data<double>()[step]).epsilon(1e-9));
    }
  }
}

TEST_CASE("Schedules stay where they ended") {
  ScheduleOptions options{.base_lr = 1, .total_steps = 10};
  for (const auto& [name, end] :
       {std::pair{"constant", 1.0}, {"cosine", 0.0}, {"onecycle", 1 / 25e4}}) {
    INFO(name);
    options.kind = parse_schedule(name);
    CHECK(learning_rate(options, 10) == Approx(end).margin(1e-15));
    CHECK(learning_rate(options, 1000) == Approx(end).margin(1e-15));
  }
}

TEST_CASE("A run that ends inside its warm-up climbs all the way") {
  for (const char* name : {"constant", "multistep", "cosine", "onecycle"}) {
    INFO(name);
    const ScheduleOptions options{.kind = parse_schedule(name),
                                  .base_lr = 1,
                                  .warmup_epochs = 5,
                                  .steps_per_epoch = 10,
                                  .total_steps = 20};
    const double first = learning_rate(options, 0);
    CHECK(first > 0);
    CHECK(learning_rate(options, 19) == Approx(20 * first));
  }
}

TEST_CASE("An unknown schedule is an error that lists the known ones") {
  CHECK_THROWS_WITH(parse_schedule("step"),
                    "schedule 'step', expected constant, multistep, cosine or "
                    "onecycle");
}
