#include "apps/train_trace.h"

#include <fmt/ranges.h>

#include <filesystem>

#include "apps/train_options.h"
#include "collectives/algorithm_communicator.h"
#include "collectives/chrome_trace.h"
#include "engine/parallel/agreement.h"

namespace ringlet {
namespace {

// After two steps in which memory is taken and caches fill.
constexpr std::size_t kFirstStep = 3, kLastStep = 5;

// At the end of a long run it would be too late to say so.
void check_place(const std::filesystem::path& file) {
  const std::filesystem::path folder = file.parent_path();
  if (!folder.empty() && !std::filesystem::is_directory(folder)) {
    throw Error(
        fmt::format("--trace {}: expected a file in a folder that "
                    "there is",
                    file.string()));
  }
  if (std::filesystem::is_directory(file)) {
    throw Error(
        fmt::format("--trace {}: is a folder, expected a file", file.string()));
  }
}

void print_line(const TrainOptions& options,
                const std::vector<RankTrace>& traces) {
  std::size_t events = 0;
  std::uint64_t dropped = 0;
  for (const RankTrace& trace : traces) {
    events += trace.events.size();
    dropped += trace.dropped;
  }
  fmt::print("trace     {}: {} events{}\n", options.trace, events,
             events == 0 ? "; the run had none of the steps to trace" : "");
  if (dropped > 0) {
    fmt::print("warning   {} more events had no room: trace fewer steps\n",
               dropped);
  }
}

}  // namespace

std::unique_ptr<Communicator> with_trace(
    const TrainOptions& options, std::size_t steps_done,
    std::unique_ptr<Communicator> communicator) {
  if (options.trace.empty()) return communicator;
  RecorderOptions record;
  const bool given = options.trace_last > 0;
  record.first_step = static_cast<std::int64_t>(
      given ? options.trace_first : steps_done + kFirstStep);
  record.last_step = static_cast<std::int64_t>(given ? options.trace_last
                                                     : steps_done + kLastStep);
  agree(*communicator, [&] {
    if (communicator->rank() == 0) check_place(options.trace);
  });
  // Only now, since the ranks must have made sure that all of them record.
  CommunicatorOptions wanted = communicator_options(options);
  wanted.recorder = std::make_shared<Recorder>(record);
  auto recording = make_communicator(communicator->name(), wanted);
  if (recording->recorder() == nullptr) {
    throw SharedError(fmt::format(
        "--trace: '{}' sends nothing that could be recorded: expected --comm "
        "auto, {}",
        recording->name(), fmt::join(algorithm_names(), ", ")));
  }
  return recording;
}

void write_trace(const TrainOptions& options, Communicator& communicator) {
  if (options.trace.empty()) return;
  const std::vector<RankTrace> traces = gather_traces(communicator);
  agree(communicator, [&] {
    if (communicator.rank() > 0) return;
    write_chrome_trace(options.trace, traces);
    print_line(options, traces);
  });
}

}  // namespace ringlet
