#include "collectives/activity.h"

#include "kernels/runtime/cuda_library.h"

namespace ringlet {

Activity::Activity(const Communicator& ranks, EventKind kind, std::size_t step,
                   std::size_t pass)
    : recorder_(ranks.recorder()), gpu_(cuda::library_in_use()) {
  if (gpu_ != nullptr) gpu_->begin_range(name_of(kind));
  if (recorder_ != nullptr) {
    recorder_->begin_activity(kind, ranks.rank(),
                              static_cast<std::int64_t>(step), pass);
  }
}

Activity::~Activity() {
  if (recorder_ != nullptr) recorder_->end_activity();
  if (gpu_ != nullptr) gpu_->end_range();
}

}  // namespace ringlet
