#pragma once

#include <cstddef>
#include <vector>

#include "collectives/communicator.h"
#include "collectives/host_memory.h"
#include "collectives/schedule.h"

namespace ringlet {

// Where arrays that only their rank has mapped are shown to the others, a block
// at a time: two blocks of each rank, which take turns.
class SharedStage {
 public:
  // Collective; `memory` outlives it.
  SharedStage(HostMemory& memory, Transport& transport,
              std::size_t block_bytes);

  std::size_t block_bytes() const { return block_bytes_; }
  std::byte* at(std::size_t rank, std::size_t half) const {
    return stages_[rank] + half * block_bytes_;
  }

  // Elements `range` of each of the `parts` of this rank's input, which are
  // `stride` elements apart in the stage.
  void copy_in(const Collective& call, std::size_t parts, Range range,
               std::size_t stride, std::size_t half);
  // Into this rank's output, if it gets any.
  void copy_out(const Collective& call, Range range, std::size_t half);

 private:
  std::byte* own(std::size_t half) const;

  int rank_, job_rank_;
  std::size_t block_bytes_;
  std::vector<std::byte*> stages_;
};

}  // namespace ringlet
