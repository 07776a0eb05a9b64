#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "collectives/transport.h"

namespace ringlet {

class GpuMessage;
class IpcWays;
class PinnedWays;

// Messages between arrays in GPUs' memory, over another transport, which must
// outlive it and sees nothing but memory of the host.
//
// All is enqueued on the stream that the calling thread uses, and a request is
// done when what is enqueued later finds its data, or may overwrite them: the
// host runs ahead of the GPU. Messages of no bytes go as they are.
class GpuTransport final : public Transport {
 public:
  explicit GpuTransport(Transport& host);
  ~GpuTransport() override;

  // Before the first message; collective. Messages have at most so many bytes.
  // `ipc`: GPUs of one host may copy from one to the other, where they can.
  void connect(std::size_t most_bytes, bool ipc);
  // After the last one, when the GPU has done all; collective. Without it, what
  // other processes may still use stays until this one ends.
  void close();

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  std::vector<int> host_ranks() const override { return host_.host_ranks(); }

  RequestPtr isend(int peer, const void* data, std::size_t bytes) override;
  RequestPtr irecv(int peer, void* data, std::size_t bytes) override;
  void wait(Request& request) override;

  void cancel() noexcept override { host_.cancel(); }
  bool is_cancelled() const noexcept override { return host_.is_cancelled(); }
  void set_urgent(bool urgent) override { urgent_ = urgent; }
  int waiting_for() const override { return waiting_for_; }
  std::int64_t now() const override { return host_.now(); }

 private:
  Transport& host_;
  int spins_;
  std::unique_ptr<IpcWays> ipc_;  // null where there is no way
  std::unique_ptr<PinnedWays> pinned_;
  std::vector<GpuMessage*> in_flight_;  // in the order of their start
  std::atomic<bool> urgent_ = true;
  std::atomic<int> waiting_for_ = kNobody;
};

}  // namespace ringlet
