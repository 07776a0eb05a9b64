#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/allreduce_perf/sweep.h"
#include "bench/measure/fit.h"

namespace ringlet {

// What an all-reduce of S bytes costs along its longest chain, as
// docs/algorithms.md has it: messages one after the other, and the bytes in
// them and those added, over S.
struct Cost {
  double steps;
  double sent;
  double added;
};
// Of one of our algorithms; none for other names.
std::optional<Cost> cost_of(const std::string& backend, int ranks);

// T = steps alpha + S sent beta + S added gamma of one back end on this
// machine. On one number of ranks, beta and gamma stand before the same S and
// cannot be told apart by times: gamma is measured alone, by adding slices as
// the ring does, and beta is what remains.
struct CostModel {
  std::string backend;
  int ranks;
  Fit fit;       // of alpha, and of beta with the adding in it
  double gamma;  // seconds per byte added
  double beta;   // seconds per byte sent
  std::size_t least_bytes, most_bytes;  // what it was fitted to

  double alpha() const { return fit.coefficients[0]; }
  // Seconds of adding per byte sent.
  double adding_per_sent() const;
  // Seconds for S bytes here.
  double expected(std::size_t bytes) const;
};

// Seconds per byte that `reduce` takes on arrays of a slice in cache.
double measure_gamma();

// For each back end that has a Cost and at least three rows, of more than one
// size.
std::vector<CostModel> fit_models(const std::vector<Row>& rows, double gamma);

// For people: the coefficients with their intervals and what the model misses.
std::string describe(const CostModel& model);

// The times on `ranks` ranks over a link of that latency (s) and bandwidth
// (bytes/s), 0 for those fitted here, and how far that can be trusted.
std::string prediction(const CostModel& model, const PerfOptions& options);

}  // namespace ringlet
