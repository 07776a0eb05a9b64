#include "bench/allreduce_perf/sweep.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <ctime>
#include <numeric>

#include "bench/allreduce_perf/backends.h"
#include "bench/allreduce_perf/timeout.h"
#include "bench/allreduce_perf/values.h"
#include "bench/measure/order.h"
#include "collectives/gpu/gpu_communicator.h"
#include "collectives/gpu/nccl_communicator.h"
#include "collectives/ledger.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// A sample lasts at least this long, so that the clock's reading (some 30 ns a
// call) and one interrupt do not decide it.
constexpr double kSampleSeconds = 200e-6;
constexpr double kMostCalls = 200;
constexpr double kGiga = 1e9;

bool has_input(CollectiveKind kind) {
  return kind != CollectiveKind::kReduce && kind != CollectiveKind::kBroadcast;
}

double combined(Communicator& ranks, double value, ReduceOp op) {
  ranks.all_reduce(&value, 1, Dtype::kF64, op);
  return value;
}

}  // namespace

double bus_factor(CollectiveKind kind, int ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return 2 * others;
    case CollectiveKind::kReduceScatter:
    case CollectiveKind::kAllGather:
      return others;
    default:
      return 1;
  }
}

double Row::algorithm_bandwidth(const Placement& placement) const {
  return static_cast<double>(bytes) / placement.time.median / kGiga;
}
double Row::bus_bandwidth(const Placement& placement) const {
  return algorithm_bandwidth(placement) * bus_factor(kind, ranks);
}
double Row::wire() const {
  const double least = static_cast<double>(bytes) * bus_factor(kind, ranks);
  return in_place.sent < 0 || least == 0 ? -1 : in_place.sent / least;
}
double Row::share_of_limit() const {
  return 2 * static_cast<double>(bytes) / limit.copy / seconds();
}

// One back end and one placement of a row.
struct Sweep::Arm {
  std::size_t backend;
  bool in_place;
  Collective call;
  std::byte* written;  // what is rewritten before each call
  std::size_t written_bytes;
};

Sweep::Sweep(const PerfOptions& options)
    : options_(options), control_(make_communicator("mpi")), arrays_(options) {
  for (const std::string& backend : options.backends) {
    if (is_nccl(backend)) {
      backends_.push_back(make_nccl_communicator(*control_));
      continue;
    }
    backends_.push_back(make_backend(backend, options));
    if (options.device == Device::kCuda) {
      hosts_.push_back(std::move(backends_.back()));
      backends_.back() = make_gpu_communicator(*hosts_.back());
    }
  }
}

Sweep::~Sweep() = default;

void Sweep::run(const std::function<void(const std::vector<Row>&)>& ready) {
  const int ranks = control_->size();
  const bool rooted = !has_input(options_.kind);
  std::vector<int> roots = rooted ? options_.roots : std::vector<int>{-1};
  if (rooted && roots.front() < 0) {
    roots.resize(static_cast<std::size_t>(ranks));
    std::iota(roots.begin(), roots.end(), 0);
  }
  for (const Dtype dtype : options_.dtypes) {
    for (const ReduceOp op : options_.ops) {
      // What cannot be is passed over in a list of all, and refused alone.
      const bool mean_of_integers = op == ReduceOp::kAvg && !is_floating(dtype);
      const bool listed = options_.ops.size() > 1 || options_.dtypes.size() > 1;
      if (mean_of_integers && listed) continue;
      for (const int root : roots) {
        for (const std::size_t bytes : sizes_of(options_)) {
          Row what;
          what.kind = options_.kind;
          what.dtype = dtype;
          what.op = op;
          what.root = root;
          what.ranks = ranks;
          const bool parts = what.kind == CollectiveKind::kReduceScatter ||
                             what.kind == CollectiveKind::kAllGather;
          const std::size_t width =
              size_of(dtype) * (parts ? static_cast<std::size_t>(ranks) : 1);
          what.count = bytes / width;
          what.bytes = what.count * width;
          ready(measure(what));
        }
      }
    }
  }
}

std::vector<Sweep::Arm> Sweep::make_arms(const Row& what) {
  const std::size_t part = what.count * size_of(what.dtype);
  const std::size_t own = static_cast<std::size_t>(control_->rank()) * part;
  std::vector<Arm> arms;
  for (std::size_t backend = 0; backend < backends_.size(); ++backend) {
    for (const bool in_place : {false, true}) {
      if (!in_place && !has_input(what.kind)) continue;
      Collective call{what.kind,  arrays_.input(), arrays_.output(),
                      what.count, what.dtype,      what.op};
      call.root = std::max(what.root, 0);
      // Refused by the call where it is no sum or mean of f32.
      call.wire = wire_of(options_.backends[backend]);
      std::byte* written = arrays_.input();
      std::size_t bytes = what.bytes;
      if (what.kind == CollectiveKind::kAllGather) {
        bytes = part;
        if (in_place) call.input = written = arrays_.output() + own;
      } else if (in_place) {
        written = arrays_.output();
        call.input = written;
        if (what.kind == CollectiveKind::kReduceScatter) {
          call.output = arrays_.output() + own;
        }
      }
      // A broadcast moves bytes.
      if (what.kind == CollectiveKind::kBroadcast) {
        call.count = what.bytes;
        call.dtype = Dtype::kU8;
      }
      arms.push_back({backend, in_place, call, written, bytes});
    }
  }
  return arms;
}

double Sweep::now() const {
  if (options_.cpu_time) {
    std::timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) +
           static_cast<double>(time.tv_nsec) / kGiga;
  }
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double Sweep::sample(const Arm& arm, std::size_t calls) {
  Communicator& backend = *backends_[arm.backend];
  double seconds = 0;
  for (std::size_t i = 0; i < calls; ++i) {
    arrays_.rewrite(arm.written, arm.written_bytes, arm.call.dtype);
    // Behind it: else a rank that is slow to write would make others wait.
    if (i == 0 && options_.blocking == 3) control_->barrier();
    const double start = now();
    backend.run(arm.call);
    arrays_.synchronize();
    if (options_.blocking == 1) control_->barrier();
    seconds += now() - start;
  }
  // Else a rank that is done would rewrite, on the core that another needs to
  // see that it is done too.
  if (options_.blocking == 3) control_->barrier();
  return seconds / static_cast<double>(calls);
}

// How many calls make a sample: the same for all of a row.
std::size_t Sweep::calibrate(const std::vector<Arm>& arms) {
  double fastest = kSampleSeconds;
  for (std::size_t i = 0; i < options_.warmup; ++i) {
    for (const Arm& arm : arms) {
      const double seconds = sample(arm, 1);
      if (i + 1 == options_.warmup) fastest = std::min(fastest, seconds);
    }
  }
  const double shared = combined(*control_, fastest, ReduceOp::kMin);
  constexpr double kTick = 1e-9;
  return static_cast<std::size_t>(
      std::clamp(kSampleSeconds / std::max(shared, kTick), 1.0, kMostCalls));
}

void Sweep::check(const Arm& arm, std::size_t bytes, Placement& placement) {
  placement.wrong = placement.ulp = 0;
  const int rank = control_->rank(), ranks = control_->size();
  for (std::size_t i = 0; i < options_.checks; ++i) {
    for (const Values kind : {Values::kExact, Values::kReal}) {
      if (kind == Values::kReal && !is_floating(arm.call.dtype)) continue;
      const bool sum = arm.call.op == ReduceOp::kSum;
      if (kind == Values::kReal && !sum) continue;
      // What the back end before has left would be right.
      std::memset(arrays_.on_host(arrays_.output()), 0xFF, bytes);
      arrays_.to_device(arrays_.output(), bytes);
      fill(arrays_.on_host(arm.written),
           arm.written_bytes / size_of(arm.call.dtype), arm.call.dtype,
           arm.call.op, kind, rank, ranks);
      arrays_.to_device(arm.written, arm.written_bytes);
      control_->barrier();
      Communicator& backend = *backends_[arm.backend];
      backend.clear_ledger();
      backend.run(arm.call);
      const Ledger* ledger = backend.ledger();
      const double sent =
          combined(*control_,
                   ledger ? static_cast<double>(ledger->total().bytes_sent) : 0,
                   ReduceOp::kMax);
      // What MPI sends, also for auto, is in no ledger.
      if (sent > 0) placement.sent = sent;
      arrays_.to_host(arrays_.input(), bytes);
      arrays_.to_host(arrays_.output(), bytes);
      const Result result{arm.call, arrays_.on_host(arm.call.output), rank,
                          ranks};
      if (kind == Values::kExact) {
        placement.wrong +=
            combined(*control_, static_cast<double>(count_wrong(result)),
                     ReduceOp::kSum);
      } else {
        placement.ulp =
            std::max(placement.ulp,
                     combined(*control_, worst_ulp(result), ReduceOp::kMax));
      }
    }
  }
}

std::vector<Row> Sweep::measure(const Row& what) {
  std::vector<Arm> arms = make_arms(what);
  std::vector<Row> rows(backends_.size(), what);
  const auto placement = [&](const Arm& arm) -> Placement& {
    Row& row = rows[arm.backend];
    return arm.in_place ? row.in_place : row.out_of_place;
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].backend = options_.backends[i];
  }
  const Timeout timeout(options_.timeout, [&] {
    return fmt::format("{} of {} bytes by {}", name_of(what.kind), what.bytes,
                       fmt::join(options_.backends, ", "));
  });

  control_->barrier();
  const MemoryLimit before = arrays_.measure_limit(what.bytes);
  if (options_.checks > 0) {
    for (const Arm& arm : arms) check(arm, what.bytes, placement(arm));
  }
  const std::size_t calls = calibrate(arms);
  for (std::size_t i = 0; i < options_.iterations; ++i) {
    for (const std::size_t k : shuffled(arms.size(), options_.seed, i)) {
      placement(arms[k]).times.push_back(sample(arms[k], calls));
    }
  }
  control_->barrier();
  const MemoryLimit after = arrays_.measure_limit(what.bytes);

  std::size_t baseline = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].backend == options_.baseline) baseline = i;
    rows[i].calls = calls;
    rows[i].limit = {std::sqrt(before.read * after.read),
                     std::sqrt(before.copy * after.copy),
                     std::sqrt(before.add * after.add)};
    finish(rows[i]);
    rows[i].noise = noise_of(rows[i].in_place.times, {before.copy, after.copy});
  }
  for (Row& row : rows) {
    row.ratio = paired_ratio(row.in_place.times, rows[baseline].in_place.times);
  }
  return rows;
}

// All ranks' times become one, and what is told of them.
void Sweep::finish(Row& row) const {
  for (Placement* placement : {&row.out_of_place, &row.in_place}) {
    std::vector<double>& times = placement->times;
    if (times.empty()) continue;
    const std::size_t n = times.size();
    if (options_.average == 0) {
      control_->broadcast(times.data(), n * sizeof(double), 0);
    } else {
      constexpr ReduceOp kOps[] = {ReduceOp::kSum, ReduceOp::kAvg,
                                   ReduceOp::kMin, ReduceOp::kMax};
      control_->all_reduce(times.data(), n, Dtype::kF64,
                           kOps[options_.average]);
    }
    constexpr double kTick = 1e-9;  // processor time can be none
    for (double& time : times) time = std::max(time, kTick);
    placement->time = median_estimate(times);
    placement->mean = std::accumulate(times.begin(), times.end(), 0.0) /
                      static_cast<double>(n);
    const auto [least, most] = std::minmax_element(times.begin(), times.end());
    placement->least = *least;
    placement->most = *most;
    // The nearest rank, as in nccl-tests: the largest of fewer than 100.
    std::vector<double> sorted = times;
    std::sort(sorted.begin(), sorted.end());
    placement->p99 = sorted[(99 * n + 99) / 100 - 1];
    double squares = 0;
    for (const double time : times) {
      squares += (time - placement->mean) * (time - placement->mean);
    }
    placement->variation =
        std::sqrt(squares / static_cast<double>(n)) / placement->mean;
  }
}

}  // namespace ringlet
