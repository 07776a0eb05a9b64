#pragma once

#include <cstddef>

#include "collectives/communicator.h"
#include "collectives/recorder.h"

namespace ringlet::cuda {
class Library;
}

namespace ringlet {

// While one lives, a rank that trains is at something. This is the one place
// that tells of it: the communicator's recorder, if it has one and wants the
// step, and on a GPU NVIDIA's profilers, by an NVTX range of the same name. One
// at a time, on the thread that trains. Without a recorder and a GPU it costs a
// few nanoseconds.
class Activity {
 public:
  // Of that step of training, as in the metrics, or of what follows it. `pass`:
  // over which part of the rank's batch, from 0.
  Activity(const Communicator& ranks, EventKind kind, std::size_t step,
           std::size_t pass = 0);
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

 private:
  Recorder* recorder_;  // null: none
  cuda::Library* gpu_;  // null: none is used
};

}  // namespace ringlet
