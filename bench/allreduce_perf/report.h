#pragma once

#include <string>
#include <vector>

#include "bench/allreduce_perf/model.h"
#include "bench/allreduce_perf/sweep.h"

namespace ringlet {

// What a run is about, beside its options.
struct RunFacts {
  std::vector<std::string> ranks;  // a line for each
  std::vector<std::string> notes;  // what has to be known of all of it
  std::string command, mpi, start_time;
};

// Prints what was measured in one of the formats, as it comes. Rank 0 only.
class Report {
 public:
  Report(const PerfOptions& options, const RunFacts& facts);

  void rows(const std::vector<Row>& rows);
  void models(const std::vector<CostModel>& models);
  // The footer, and the file of -J. Throws Error where that cannot be written.
  void finish();

  bool any_wrong() const;
  bool any_useless() const;

 private:
  void header() const;
  void table_row(const Row& row) const;
  std::string json() const;

  struct Totals {
    double wrong = 0;
    double bus_bandwidth = 0;  // the mean of all rows and placements
  };
  Totals totals() const;

  const PerfOptions& options_;
  RunFacts facts_;
  std::vector<Row> rows_;
  std::vector<CostModel> models_;
};

}  // namespace ringlet
