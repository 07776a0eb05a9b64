#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "apps/doctor_facts.h"
#include "apps/mpirun.h"
#include "collectives/communicator.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_version.h"

// The job of two ranks by which `ringlet doctor` sees whether MPI works.

namespace ringlet {
namespace {

constexpr double kVersionSeconds = 5;
// Half a second where nothing else runs.
constexpr double kJobSeconds = 20, kCallSeconds = 5;
constexpr int kRanks = 2;
// 256 KiB: more than MPI sends at once, so that its every way is gone.
constexpr std::size_t kCount = 1 << 16;

// Those that need neither GPUs nor several hosts.
std::vector<std::string> back_ends() {
  std::vector<std::string> names = communicator_names();
  std::erase_if(names, [](const std::string& name) {
    return name == "solo" || name == "hierarchical" || name == "nccl";
  });
  return names;
}

// Small whole numbers, whose sum f32 has exactly.
float element(std::size_t i, int rank) {
  return static_cast<float>(i % 1000 + static_cast<std::size_t>(rank));
}

// What is wrong with the sum; "" where it is right.
std::string try_back_end(const std::string& name, const std::string& fault) {
  CommunicatorOptions options{.fault = fault};
  options.guard->timeout_seconds = kCallSeconds;
  const auto communicator = make_communicator(name, options);
  std::vector<float> data(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    data[i] = element(i, communicator->rank());
  }
  communicator->all_reduce(data.data(), kCount, Dtype::kF32, ReduceOp::kSum);
  for (std::size_t i = 0; i < kCount; ++i) {
    float expected = 0;
    for (int rank = 0; rank < communicator->size(); ++rank) {
      expected += element(i, rank);
    }
    if (data[i] != expected) {
      return fmt::format("wrong sum: element {} is {}, expected {}", i, data[i],
                         expected);
    }
  }
  return "";
}

// A line at once, or those of ranks would mix.
void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace

MpiFacts mpi_facts() {
  return {mpi_version(), run_child(kVersionSeconds, [] {
            become({"mpirun", "--version"});
          })};
}

JobFacts job_facts(const std::vector<std::string>& command, int threads) {
  const auto words = mpirun_words({"-np", std::to_string(kRanks)}, command);
  const Child job = run_child(kJobSeconds, [&] {
    set_mpirun_environment();
    become(words);
  });
  return {job, kRanks, back_ends(), threads};
}

void be_rank_of_job(const std::string& fault) {
  ::alarm(static_cast<unsigned>(kJobSeconds));  // should mpirun be killed
  const auto mpi = start_mpi();
  say(fmt::format("cores {}", allowed_core_count()));
  std::string first_fault = fault;
  for (const std::string& name : back_ends()) {
    std::string wrong;
    try {
      wrong = try_back_end(name, std::exchange(first_fault, ""));
    } catch (const Error& error) {
      wrong = error.what();
    }
    if (!wrong.empty()) {
      say(fmt::format("bad {}: {}", name, wrong));
    } else if (launch_info().rank == 0) {
      say("ok " + name);
    }
  }
}

}  // namespace ringlet
