// Measures collectives between the ranks of an mpirun job, several back ends
// interleaved in one run, with nccl-tests' options and columns.
//
//   mpirun -np 2 allreduce_perf -b 4 -e 64M -f 4 --backends ring,mpi,auto
//
// Exit status: 0 measured; 1 an error, or a wrong result; 3 measured, but the
// machine was too noisy for at least one row to mean anything.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <optional>

#include "bench/allreduce_perf/backends.h"
#include "bench/allreduce_perf/report.h"
#include "bench/allreduce_perf/tune.h"
#include "collectives/gpu/gpu_communicator.h"
#include "collectives/guard/watchdog.h"
#include "collectives/mpi_scope.h"
#include "collectives/mpi_version.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

constexpr int kWrong = 1, kNoisy = 3;

std::string this_rank(Device device) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  const std::string where =
      device == Device::kCpu
          ? fmt::format("cpu, {} cores", allowed_core_count())
          : fmt::format("cuda {}, {}", own_gpu(), cuda::library().describe());
  return fmt::format("Rank {:>2} Pid {:>6} on {:>10} device {}",
                     launch_info().rank, getpid(), host, where);
}

std::string command_line(int argc, char** argv, int ranks) {
  std::string text = fmt::format("mpirun -np {} allreduce_perf", ranks);
  for (int i = 1; i < argc; ++i) text += fmt::format(" {}", argv[i]);
  return text;
}

int run(int argc, char** argv) {
  PerfOptions options;
  if (!parse_perf_options(argc, argv, options)) return 0;
  set_kernel_threads(1);
  prepare_backends(options.backends);
  const auto mpi = start_mpi();
  Watchdog::handle_sigterm();
  if (options.device == Device::kCuda) use_own_gpu();
  std::vector<std::string> notes =
      drop_impossible(options, *make_communicator("mpi"));
  Sweep sweep(options);
  Communicator& control = sweep.control();
  RunFacts facts{
      gather_text(control, this_rank(options.device)), notes,
      command_line(argc, argv, control.size()), mpi_version(),
      fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr)))};
  std::optional<Report> report;
  if (control.rank() == 0) report.emplace(options, facts);

  std::vector<Row> rows;
  sweep.run([&](const std::vector<Row>& found) {
    rows.insert(rows.end(), found.begin(), found.end());
    if (report) report->rows(found);
  });
  int status = 0;
  if (report) {
    if (options.device == Device::kCpu) {
      report->models(fit_models(rows, measure_gamma()));
    }
    report->finish();
    status = report->any_wrong() ? kWrong : report->any_useless() ? kNoisy : 0;
    if (!options.tune_file.empty()) write_table(options.tune_file, rows);
  }
  if (!options.trace_file.empty()) write_trace(options);
  control.broadcast(&status, sizeof status, 0);
  return status;
}

}  // namespace
}  // namespace ringlet

int main(int argc, char** argv) {
  try {
    return ringlet::run(argc, argv);
  } catch (const std::exception& error) {
    ringlet::end_job("allreduce_perf", error);
  }
}
