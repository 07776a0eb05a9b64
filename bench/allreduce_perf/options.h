#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "collectives/communicator.h"
#include "kernels/runtime/buffer.h"

namespace ringlet {

enum class Format { kTable, kCsv, kJson, kOsu };

// What allreduce_perf was asked for. Letters and their meanings are
// nccl-tests', except that a collective is chosen by --op and not by the
// program.
struct PerfOptions {
  Device device = Device::kCpu;  // where the arrays lie
  CollectiveKind kind = CollectiveKind::kAllReduce;
  std::vector<std::string> backends;  // by default ring and mpi; on a GPU, nccl
  // What ratios are against; by default mpi, or nccl, or the first.
  std::string baseline;

  std::size_t min_bytes = 32 << 20, max_bytes = 32 << 20;
  std::size_t step_bytes = 1 << 20;
  double step_factor = 0;  // 0: step_bytes counts
  std::size_t iterations = 20, warmup = 5, checks = 1;
  std::vector<ReduceOp> ops{ReduceOp::kSum};
  std::vector<Dtype> dtypes{Dtype::kF32};
  std::vector<int> roots{0};  // of reduce and broadcast; -1: all
  int blocking = 3;
  int average = 1;
  bool cpu_time = false, per_iteration = false, timestamps = false;
  double timeout = 0;  // seconds per row; 0: none
  Pages pages = Pages::kHuge;
  bool registered = false;  // -R
  Format format = Format::kTable;
  std::string json_file, trace_file;

  std::uint64_t seed = 1;  // of the order of what is compared
  std::string comm_table;
  std::string tune_file;                        // --tune
  int predict_ranks = 0;                        // --predict
  double link_latency = 0, link_bandwidth = 0;  // seconds, bytes/s; 0: fitted
};

// Fills `options` from the command line, or prints the help and returns false.
// Throws Error naming the option, its value and what was expected.
bool parse_perf_options(int argc, char** argv, PerfOptions& options);

// 4, "16K", "94M", "1.5G": bytes, in powers of 1024.
std::size_t parse_bytes(const std::string& text);

// As nccl-tests writes them: "float", "bfloat16", ...
const char* nccl_name(Dtype dtype);

// The sizes to measure, in bytes, rising.
std::vector<std::size_t> sizes_of(const PerfOptions& options);

}  // namespace ringlet
