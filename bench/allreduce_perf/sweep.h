#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/allreduce_perf/arrays.h"
#include "bench/allreduce_perf/options.h"
#include "bench/measure/memory_limit.h"
#include "bench/measure/noise.h"
#include "bench/measure/statistics.h"

namespace ringlet {

// One way of calling: out of place, or in place. Times in seconds per call.
struct Placement {
  std::vector<double> times;  // none: this collective has no such form
  Estimate time{};
  double mean = 0, least = 0, most = 0, p99 = 0, variation = 0;
  double wrong = -1;  // elements, of all ranks; -1: not checked
  double ulp = -1;    // the largest error; -1: not checked
  double sent = -1;   // bytes, by the busiest rank; -1: not ours to count
};

// What was measured of one back end at one size.
struct Row {
  std::string backend;
  CollectiveKind kind{};
  std::size_t bytes = 0, count = 0;
  Dtype dtype{};
  ReduceOp op{};
  int root = -1;  // -1: none
  int ranks = 1;
  std::size_t calls = 1;  // in one sample
  Placement out_of_place, in_place;
  Noise noise{};
  Estimate ratio{};     // of the in-place time to the baseline's
  MemoryLimit limit{};  // per rank, at this size, all ranks at once

  double seconds() const { return in_place.time.median; }
  // bytes / time, in GB/s (1e9), and that times what the collective must move
  // per byte: see bench/README.md.
  double algorithm_bandwidth(const Placement& placement) const;
  double bus_bandwidth(const Placement& placement) const;
  // What the busiest rank sent, over what it must where all send equally; -1:
  // not known.
  double wire() const;
  // What of the time it takes to read and write `bytes` once.
  double share_of_limit() const;
};

// 2 (n-1)/n and the like.
double bus_factor(CollectiveKind kind, int ranks);

// Measures all sizes, dtypes and ops with all back ends, row after row; `ready`
// gets the rows of a size as they come, on every rank. Collective.
class Sweep {
 public:
  explicit Sweep(const PerfOptions& options);
  ~Sweep();

  Communicator& control() { return *control_; }
  void run(const std::function<void(const std::vector<Row>&)>& ready);

 private:
  struct Arm;

  std::vector<Row> measure(const Row& what);
  std::vector<Arm> make_arms(const Row& what);
  double sample(const Arm& arm, std::size_t calls);
  std::size_t calibrate(const std::vector<Arm>& arms);
  void check(const Arm& arm, std::size_t bytes, Placement& placement);
  void finish(Row& row) const;
  double now() const;

  const PerfOptions& options_;
  std::unique_ptr<Communicator> control_;
  Arrays arrays_;
  // Those that the ones for a GPU's arrays rest on.
  std::vector<std::unique_ptr<Communicator>> hosts_;
  std::vector<std::unique_ptr<Communicator>> backends_;
};

}  // namespace ringlet
