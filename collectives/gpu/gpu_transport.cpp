#include "collectives/gpu/gpu_transport.h"

#include "collectives/backoff.h"
#include "collectives/gpu/gpu_message.h"
#include "collectives/gpu/ipc_ways.h"
#include "collectives/gpu/pinned_ways.h"
#include "kernels/runtime/threads.h"

namespace ringlet {

GpuTransport::GpuTransport(Transport& host)
    : host_(host),
      spins_(spin_budget(static_cast<int>(host.host_ranks().size()),
                         kernel_threads(), host_cores())) {}
GpuTransport::~GpuTransport() = default;

void GpuTransport::connect(std::size_t most_bytes, bool ipc) {
  if (ipc) ipc_ = IpcWays::connect(host_, most_bytes);
  pinned_ = std::make_unique<PinnedWays>(host_);
}

void GpuTransport::close() {
  if (ipc_) ipc_->close();
}

Transport::RequestPtr GpuTransport::isend(int peer, const void* data,
                                          std::size_t bytes) {
  if (bytes == 0) return host_.isend(peer, data, bytes);
  RequestPtr message = ipc_ && ipc_->reaches(peer)
                           ? ipc_->isend(in_flight_, peer, data, bytes)
                           : pinned_->isend(in_flight_, peer, data, bytes);
  message->test();  // at once if it can
  return message;
}

Transport::RequestPtr GpuTransport::irecv(int peer, void* data,
                                          std::size_t bytes) {
  if (bytes == 0) return host_.irecv(peer, data, bytes);
  if (ipc_ && ipc_->reaches(peer)) {
    return ipc_->irecv(in_flight_, peer, data, bytes);
  }
  return pinned_->irecv(in_flight_, peer, data, bytes);
}

// Meanwhile all that is in flight goes on: another rank may wait for a step of
// a message that nobody waits for here.
void GpuTransport::wait(Request& request) {
  const auto* message = dynamic_cast<GpuMessage*>(&request);
  if (message == nullptr) return host_.wait(request);
  if (request.test()) return;
  waiting_for_ = message->peer();
  Backoff backoff(spins_);
  for (;;) {
    const std::vector<GpuMessage*> all = in_flight_;
    for (GpuMessage* one : all) one->test();
    if (request.test()) break;
    if (is_cancelled()) throw Cancelled("gave up waiting for another rank");
    backoff.pause(urgent_);
  }
  waiting_for_ = kNobody;
}

}  // namespace ringlet
