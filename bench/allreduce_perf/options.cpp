#include "bench/allreduce_perf/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "bench/allreduce_perf/backends.h"
#include "bench/allreduce_perf/tune.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/device.h"

namespace ringlet {
namespace {

constexpr std::array kDtypes{Dtype::kF32,  Dtype::kF64, Dtype::kF16,
                             Dtype::kBF16, Dtype::kI32, Dtype::kI64,
                             Dtype::kU8};
constexpr std::array kOps{ReduceOp::kSum, ReduceOp::kProd, ReduceOp::kMin,
                          ReduceOp::kMax, ReduceOp::kAvg};
constexpr std::array kKinds{CollectiveKind::kAllReduce,
                            CollectiveKind::kReduceScatter,
                            CollectiveKind::kAllGather, CollectiveKind::kReduce,
                            CollectiveKind::kBroadcast};

// nccl-tests' options that mean nothing here, the value that asks for what is
// done anyway, and why no other will do.
struct Refused {
  const char* names;
  const char* accepted;
  const char* reason;
};
constexpr Refused kRefused[] = {
    {"-t,--nthreads", "1",
     "a rank communicates with one thread: start more ranks"},
    {"-g,--ngpus", "1", "a rank has one GPU: start more ranks"},
    {"-m,--agg_iters", "1", "calls are not aggregated"},
    {"-N,--run_cycles", "1", "repeat the command instead"},
    {"-p,--parallel_init", "0", "there is one rank per process"},
    {"-G,--cudagraph", "0", "each call is made by the host"},
    {"-D,--device_implementation", "0", "each call is made by the host"},
    {"-V,--device_cta_count", "", "each call is made by the host"},
    {"-M,--memory", "0", "see the memory limit that every run prints"},
    {"-u,--unalign", "0", "arrays are aligned to 64 bytes"},
    {"-K,--per_iter_skip", "0", "-w has the iterations that do not count"},
};

// The value whose name is `text`, or Error with all names.
template <typename Values, typename Name>
auto named(const char* option, const std::string& text, const Values& values,
           Name name_of_value) {
  std::string known;
  for (const auto value : values) {
    if (name_of_value(value) == text) return value;
    known +=
        fmt::format("{}{}", known.empty() ? "" : ", ", name_of_value(value));
  }
  throw Error(fmt::format("{}: '{}', expected one of {}", option, text, known));
}

std::vector<Dtype> dtypes_named(const std::string& text) {
  if (text == "all") return {kDtypes.begin(), kDtypes.end()};
  for (const Dtype dtype : kDtypes) {
    if (text == name_of(dtype)) return {dtype};
  }
  return {named("-d", text, kDtypes, [](Dtype d) { return nccl_name(d); })};
}

std::vector<ReduceOp> ops_named(const std::string& text) {
  if (text == "all") return {kOps.begin(), kOps.end()};
  return {named("-o", text, kOps, [](ReduceOp op) { return name_of(op); })};
}

int root_named(const std::string& text) {
  if (text == "all") return -1;
  const bool digits = !text.empty() && text.size() < 9 &&
                      text.find_first_not_of("0123456789") == text.npos;
  if (!digits) {
    throw Error(fmt::format("-r: '{}', expected a rank or all", text));
  }
  return std::stoi(text);
}

struct Texts {
  std::string min = "32M", max, step = "1M", op = "sum", dtype = "float",
              root = "0", kind = "all_reduce", format = "table";
  std::string pages = "huge", device = "cpu";
  double bandwidth = 0, latency = 0;
};

void add_sizes(CLI::App& app, PerfOptions& o, Texts& texts) {
  app.option_defaults()->group("Sizes");
  app.add_option("-b,--minbytes", texts.min, "Smallest size, as 4, 16K, 94M")
      ->capture_default_str();
  app.add_option("-e,--maxbytes", texts.max, "Largest size")
      ->default_str("-b's, at least 32M");
  app.add_option("-i,--stepbytes", texts.step, "From one size to the next")
      ->capture_default_str();
  app.add_option("-f,--stepfactor", o.step_factor,
                 "Factor from one size to the next, instead of -i");
}

void add_operation(CLI::App& app, PerfOptions& o, Texts& texts) {
  app.option_defaults()->group("Operation");
  app.add_option("--op", texts.kind,
                 "all_reduce, reduce_scatter, all_gather, reduce or broadcast")
      ->capture_default_str();
  app.add_option("-o,--redop", texts.op, "sum, prod, min, max, avg or all")
      ->capture_default_str();
  app.add_option("-d,--datatype", texts.dtype,
                 "float, double, half, bfloat16, int32, int64, uint8 or all")
      ->capture_default_str();
  app.add_option("-r,--root", texts.root,
                 "Of reduce and broadcast: a rank, or all")
      ->capture_default_str();
  app.add_option("--device", texts.device,
                 "Where the arrays lie: cpu or cuda, a GPU for each rank")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--backends", o.backends,
                 "What to compare, in one interleaved run: " + backend_help())
      ->delimiter(',')
      ->default_str("ring,mpi; ring,nccl on a GPU");
  app.add_option("--baseline", o.baseline, "What ratios are against")
      ->default_str("mpi, nccl, or the first");
  app.add_option("--comm-table", o.comm_table, "The table of auto")
      ->default_str("built in");
}

void add_measurement(CLI::App& app, PerfOptions& o, Texts& texts) {
  app.option_defaults()->group("Measurement");
  app.add_option("-n,--iters", o.iterations, "Samples of each row")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("-w,--warmup_iters", o.warmup,
                 "Samples that do not count; without any, each sample is one "
                 "call")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("-c,--check", o.checks, "Times that results are checked")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_option("-z,--blocking", o.blocking,
                 "3: a barrier before each sample, outside the time; 1: one "
                 "after each call, inside; 0, 2: none")
      ->capture_default_str()
      ->check(CLI::Range(0, 3));
  app.add_option("-a,--average", o.average,
                 "A sample is rank 0's time, or that of all ranks: 0 rank 0, 1 "
                 "mean, 2 least, 3 most")
      ->capture_default_str()
      ->check(CLI::Range(0, 3));
  app.add_option("-R,--local_register", o.registered,
                 "1: arrays in memory that the ranks of a host share, as "
                 "training's gradients; 0: in each rank's own");
  app.add_option("--pages", texts.pages,
                 "Of a rank's own arrays: huge or, as malloc's, small")
      ->capture_default_str();
  app.add_option("-C,--report_cputime", o.cpu_time,
                 "1: processor time of the rank instead of elapsed time");
  app.add_option("-T,--timeout", o.timeout,
                 "Seconds after which a row ends the job")
      ->check(CLI::Range(0.0, 1e9));
  app.add_option("--seed", o.seed, "Of the order of what is compared")
      ->capture_default_str();
}

void add_output(CLI::App& app, PerfOptions& o, Texts& texts) {
  app.option_defaults()->group("Output");
  app.add_option("--format", texts.format, "table, csv, json or osu")
      ->capture_default_str();
  app.add_option("-J,--output_file", o.json_file, "Write JSON to this file");
  app.add_option("--trace", o.trace_file,
                 "Record one call of the largest size by the first of our "
                 "algorithms, as Chrome's trace format");
  app.add_option("-I,--per_iter_timing", o.per_iteration,
                 "1: columns of the samples' spread");
  app.add_option("-S,--report_timestamps", o.timestamps,
                 "1: the time of day beside each row");
  app.option_defaults()->group("Models and tables");
  app.add_option("--tune", o.tune_file,
                 "Measure which algorithm is best from which size on, for this "
                 "number of ranks, and write it to this file; other numbers in "
                 "it stay. As --tune=FILE: mpirun has a --tune of its own");
  app.add_option("--predict", o.predict_ranks,
                 "Predict the times on this many ranks from what was measured")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--link-latency-us", texts.latency,
                 "Of the link to predict for")
      ->default_str("as fitted")
      ->check(CLI::Range(0.0, 1e9));
  app.add_option("--link-gbs", texts.bandwidth,
                 "GB/s of the link to predict for, each way")
      ->default_str("as fitted")
      ->check(CLI::Range(0.0, 1e9));
}

void add_refused(CLI::App& app) {
  app.option_defaults()->group("");
  for (const Refused& option : kRefused) {
    app.add_option_function<std::string>(
        option.names, [&option](const std::string& value) {
          if (value == option.accepted) return;
          throw Error(fmt::format("{} is nccl-tests', not ours: {}",
                                  std::string(option.names).substr(0, 2),
                                  option.reason));
        });
  }
}

void take_sizes(const Texts& texts, PerfOptions& o) {
  o.min_bytes = parse_bytes(texts.min);
  o.max_bytes = texts.max.empty() ? std::max(o.min_bytes, o.max_bytes)
                                  : parse_bytes(texts.max);
  o.step_bytes = parse_bytes(texts.step);
  if (o.max_bytes < o.min_bytes) {
    throw Error(fmt::format("-e: {} bytes, expected at least -b's {}",
                            o.max_bytes, o.min_bytes));
  }
  if (o.step_factor != 0 && !(o.step_factor > 1)) {
    throw Error(fmt::format("-f: {}, expected more than 1", o.step_factor));
  }
  if (o.step_factor == 0 && o.step_bytes == 0) {
    throw Error("-i: 0, expected a size");
  }
}

void take_device(const Texts& texts, PerfOptions& o) {
  if (texts.device == "cpu") return;
  o.device = Device::kCuda;
  if (const std::string why_not = why_no_cuda(); !why_not.empty()) {
    throw Error("--device cuda: no GPU can be used: " + why_not);
  }
  const std::pair<bool, const char*> of_the_host[] = {
      {o.registered, "-R"},
      {!o.trace_file.empty(), "--trace"},
      {!o.tune_file.empty(), "--tune"},
      {o.predict_ranks > 0, "--predict"}};
  for (const auto& [given, name] : of_the_host) {
    if (!given) continue;
    throw Error(
        fmt::format("{} with --device cuda: expected --device cpu", name));
  }
}

void take(const Texts& texts, PerfOptions& o) {
  take_sizes(texts, o);
  o.ops = ops_named(texts.op);
  o.dtypes = dtypes_named(texts.dtype);
  o.roots = {root_named(texts.root)};
  o.kind = named("--op", texts.kind, kKinds,
                 [](CollectiveKind kind) { return name_of(kind); });
  constexpr std::array kFormats{Format::kTable, Format::kCsv, Format::kJson,
                                Format::kOsu};
  constexpr const char* kFormatNames[] = {"table", "csv", "json", "osu"};
  o.format = named("--format", texts.format, kFormats, [&](Format format) {
    return kFormatNames[static_cast<int>(format)];
  });
  o.pages = named(
      "--pages", texts.pages, std::array{Pages::kHuge, Pages::kSmall},
      [](Pages pages) { return pages == Pages::kHuge ? "huge" : "small"; });
  const bool moves_only = o.kind == CollectiveKind::kAllGather ||
                          o.kind == CollectiveKind::kBroadcast;
  if (moves_only) o.ops = {ReduceOp::kSum};
  o.link_latency = texts.latency * 1e-6;
  o.link_bandwidth = texts.bandwidth * 1e9;
  take_device(texts, o);
  const bool on_gpu = o.device == Device::kCuda;
  if (o.backends.empty()) o.backends = {"ring", on_gpu ? "nccl" : "mpi"};
  for (const std::string& backend : o.backends) {
    check_backend(backend, o.device);
  }
  if (o.baseline.empty()) {
    o.baseline = o.backends.front();
    for (const std::string& backend : o.backends) {
      if (backend == "mpi" || backend == "nccl") o.baseline = backend;
    }
  }
  if (std::find(o.backends.begin(), o.backends.end(), o.baseline) ==
      o.backends.end()) {
    throw Error(
        fmt::format("--baseline: {}, expected one of --backends", o.baseline));
  }
  if (!o.trace_file.empty()) first_of_ours(o.backends);
  if (!o.tune_file.empty()) prepare_tuning(o);
  if (o.predict_ranks > 0 && o.format != Format::kTable) {
    throw Error("--predict: expected --format table, which prints it");
  }
  if (o.format == Format::kOsu && o.backends.size() > 1) {
    throw Error(
        "--format osu: expected one of --backends, since its table has "
        "no column for more");
  }
}

}  // namespace

bool parse_perf_options(int argc, char** argv, PerfOptions& options) {
  CLI::App app(
      "Measures collectives, and compares back ends in one run: nccl-tests' "
      "options and columns on the host's memory or a GPU's. bench/README.md "
      "explains them.",
      "allreduce_perf");
  Texts texts;
  add_sizes(app, options, texts);
  add_operation(app, options, texts);
  add_measurement(app, options, texts);
  add_output(app, options, texts);
  add_refused(app);
  // Every rank has the same command line, and so the same error.
  try {
    app.parse(argc, argv);
    take(texts, options);
  } catch (const CLI::CallForHelp&) {
    if (launch_info().rank == 0) std::fputs(app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ParseError& error) {
    throw SharedError(
        fmt::format("{}; see allreduce_perf --help", error.what()));
  } catch (const Error& error) {
    throw SharedError(error.what());
  }
  return true;
}

std::size_t parse_bytes(const std::string& text) {
  constexpr const char* kUnits = "KMG";
  constexpr double kMost = 1e15;
  std::string number = text;
  double unit = 1;
  if (!number.empty()) {
    const char last = static_cast<char>(std::toupper(number.back()));
    if (const char* place = std::strchr(kUnits, last); last && place) {
      unit = std::pow(1024.0, place - kUnits + 1);
      number.pop_back();
    }
  }
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  const bool whole = !number.empty() && *end == '\0' && std::isfinite(value);
  if (!whole || value < 0 || value * unit > kMost) {
    throw Error(fmt::format(
        "'{}' is no size: expected bytes, or a number with K, M or G", text));
  }
  return static_cast<std::size_t>(value * unit);
}

const char* nccl_name(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return "float";
    case Dtype::kF64:
      return "double";
    case Dtype::kF16:
      return "half";
    case Dtype::kBF16:
      return "bfloat16";
    case Dtype::kI32:
      return "int32";
    case Dtype::kI64:
      return "int64";
    case Dtype::kU8:
      break;
  }
  return "uint8";
}

std::vector<std::size_t> sizes_of(const PerfOptions& options) {
  std::vector<std::size_t> sizes;
  std::size_t bytes = options.min_bytes;
  while (bytes <= options.max_bytes) {
    sizes.push_back(bytes);
    const std::size_t next =
        options.step_factor > 0
            ? static_cast<std::size_t>(static_cast<double>(bytes) *
                                       options.step_factor)
            : bytes + options.step_bytes;
    bytes = std::max(next, bytes + 1);
  }
  return sizes;
}

}  // namespace ringlet
