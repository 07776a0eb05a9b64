#pragma once

namespace ringlet {

// Open MPI's tuned all-reduce: 1 linear, 2 reduce and broadcast, 3 recursive
// doubling, 4 ring, 5 segmented ring, 6 Rabenseifner.
inline constexpr int kOpenMpiAlgorithms = 6;

// Lets OpenMpiAlgorithm work. Before MPI starts.
void prepare_open_mpi_algorithms();

// While it lives, MPI communicators that are made all-reduce by algorithm
// `number` (1 to 6; 0 changes nothing), in segments of 1 MiB where it has
// some. Throws Error where the MPI library is not Open MPI, or its tuned
// collectives are not there.
class OpenMpiAlgorithm {
 public:
  explicit OpenMpiAlgorithm(int number);
  ~OpenMpiAlgorithm() { release(); }
  OpenMpiAlgorithm(const OpenMpiAlgorithm&) = delete;
  OpenMpiAlgorithm& operator=(const OpenMpiAlgorithm&) = delete;

  // Back to MPI's own choice, for communicators made from now on.
  void release() noexcept;

 private:
  int number_;
};

}  // namespace ringlet
