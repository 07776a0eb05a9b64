// Ranks sum their arrays: mpirun -np 3 build/all_reduce [BACK_END]
#include <algorithm>
#include <cstdio>
#include <exception>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/ledger.h"
#include "collectives/mpi_scope.h"

using namespace ringlet;

void run(const char* back_end) {
  const auto communicator = make_communicator(back_end);  // starts MPI
  const int rank = communicator->rank(), size = communicator->size();

  // Rank 0 brings ones, rank 1 twos, ...: the sum is size * (size + 1) / 2.
  std::vector<float> data(3'000'000, static_cast<float>(rank + 1));
  communicator->all_reduce(data.data(), data.size(), Dtype::kF32,
                           ReduceOp::kSum);

  const auto [least, most] = std::minmax_element(data.begin(), data.end());
  std::printf("rank %d of %d, %s: sums from %g to %g", rank, size,
              communicator->name().c_str(), *least, *most);
  // What MPI's own all-reduce ("mpi") sends, nobody tells us. By the ring each
  // rank sends 2 (size - 1) / size times its array.
  if (const Ledger* ledger = communicator->ledger()) {
    std::printf("; sent %g of %g MB",
                static_cast<double>(ledger->total().bytes_sent) / 1e6,
                static_cast<double>(data.size()) * 4 / 1e6);
  }
  std::printf("\n");
}

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? argv[1] : "auto");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "all_reduce: %s\n", error.what());
    abort_job(1);  // the other ranks would wait for this one for ever
  }
}
