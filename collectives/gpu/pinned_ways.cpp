#include "collectives/gpu/pinned_ways.h"

#include <utility>

namespace ringlet {

class PinnedWays::Send final : public GpuMessage {
 public:
  Send(std::vector<GpuMessage*>& in_flight, int peer, PinnedWays& ways,
       const void* data, std::size_t bytes)
      : GpuMessage(in_flight, peer),
        host_(ways.host_),
        slot_(ways.take_slot(bytes)),
        bytes_(bytes) {
    copy_on(*ways.down_, *slot_, slot_->memory.data(), data, bytes);
  }

 private:
  bool advance() override {
    if (!message_) {
      if (!slot_->copied->done()) return false;
      message_ = host_.isend(peer(), slot_->memory.data(), bytes_);
    }
    if (!message_->test()) return false;
    slot_->taken = false;
    return true;
  }

  Transport& host_;
  std::shared_ptr<Slot> slot_;
  std::size_t bytes_;
  Transport::RequestPtr message_;  // null until the data have come down
};

class PinnedWays::Receive final : public GpuMessage {
 public:
  Receive(std::vector<GpuMessage*>& in_flight, int peer, PinnedWays& ways,
          void* data, std::size_t bytes)
      : GpuMessage(in_flight, peer),
        up_(*ways.up_),
        slot_(ways.take_slot(bytes)),
        data_(data),
        bytes_(bytes),
        message_(ways.host_.irecv(peer, slot_->memory.data(), bytes)) {}

 private:
  bool advance() override {
    if (!message_->test()) return false;
    copy_on(up_, *slot_, data_, slot_->memory.data(), bytes_);
    slot_->copied->enqueue_wait();
    slot_->taken = false;  // to be used again once it is copied
    return true;
  }

  cuda::Stream& up_;
  std::shared_ptr<Slot> slot_;
  void* data_;
  std::size_t bytes_;
  Transport::RequestPtr message_;
};

// The streams end first, with all that uses the slots.
PinnedWays::~PinnedWays() {
  up_.reset();
  down_.reset();
}

Transport::RequestPtr PinnedWays::isend(std::vector<GpuMessage*>& in_flight,
                                        int peer, const void* data,
                                        std::size_t bytes) {
  return std::make_unique<Send>(in_flight, peer, *this, data, bytes);
}

Transport::RequestPtr PinnedWays::irecv(std::vector<GpuMessage*>& in_flight,
                                        int peer, void* data,
                                        std::size_t bytes) {
  return std::make_unique<Receive>(in_flight, peer, *this, data, bytes);
}

std::shared_ptr<PinnedWays::Slot> PinnedWays::take_slot(std::size_t bytes) {
  for (const auto& slot : slots_) {
    if (slot->taken || slot->memory.bytes() < bytes) continue;
    if (!slot->copied->done()) continue;
    slot->taken = true;
    return slot;
  }
  slots_.push_back(std::make_shared<Slot>(Slot{Buffer::allocate_pinned(bytes),
                                               cuda::library().make_event(),
                                               cuda::library().make_event()}));
  return slots_.back();
}

void PinnedWays::copy_on(cuda::Stream& stream, Slot& slot, void* to,
                         const void* from, std::size_t bytes) {
  slot.ready->record();
  const cuda::OnStream use(stream);
  slot.ready->enqueue_wait();
  cuda::library().copy(to, from, bytes);
  slot.copied->record();
}

}  // namespace ringlet
