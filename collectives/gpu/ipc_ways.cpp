#include "collectives/gpu/ipc_ways.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <new>

#include "kernels/runtime/check.h"

namespace ringlet {

// Of one rank with one other, written by the first.
struct alignas(64) IpcWays::Counters {
  std::atomic<std::uint64_t> sent;   // messages to it
  std::atomic<std::uint64_t> freed;  // slots of messages from it
};

namespace {

using EventPtr = std::shared_ptr<cuda::Event>;

// An event as another rank finds it: by its handle in another process; in this
// one, whose own handles CUDA does not open, by itself, so that it lives as
// long as somebody uses it.
struct SharedEvent {
  cuda::IpcHandle handle;
  const EventPtr* event;
};

// One rank of each host.
void tell(const std::string& why_not) {
  fmt::print(
      stderr,
      "ringlet: warning: between GPUs by way of pinned memory, since CUDA IPC "
      "cannot be had: {}\n",
      why_not.empty() ? "another rank failed" : why_not);
}

}  // namespace

// What a rank shows the others, in front of its Counters and, for each of them,
// the events of the messages to it and from it.
struct IpcWays::Card {
  pid_t process;
  bool fine;  // in the step that is on
  std::byte* slots;
  cuda::IpcHandle slots_handle;

  struct Pair {
    Counters counters;
    SharedEvent sent[kSlots], freed[kSlots];
  };

  static std::size_t bytes_for(std::size_t ranks) {
    return sizeof(Card) + alignof(Pair) + ranks * sizeof(Pair);
  }
  Pair& with(std::size_t rank) {
    const auto behind = reinterpret_cast<std::uintptr_t>(this + 1);
    const std::uintptr_t first =
        (behind + alignof(Pair) - 1) / alignof(Pair) * alignof(Pair);
    return reinterpret_cast<Pair*>(first)[rank];
  }
};

// To and from one other rank.
struct IpcWays::Way {
  // Of this rank: behind the copy of a message into the other's slot, and
  // behind that out of a slot of its own; and the other's.
  std::array<EventPtr, kSlots> sent, freed, sent_there, freed_there;
  Counters* here = nullptr;
  Counters* there = nullptr;
  std::byte* slots_here = nullptr;
  std::byte* slots_there = nullptr;
  void* opened = nullptr;                 // null: memory of this process
  std::uint64_t sends = 0, receives = 0;  // started
};

class IpcWays::Send final : public GpuMessage {
 public:
  Send(std::vector<GpuMessage*>& in_flight, int peer, Way& way,
       std::byte* slots, std::size_t slot_bytes, const void* data,
       std::size_t bytes)
      : GpuMessage(in_flight, peer),
        way_(way),
        number_(way.sends++),
        slot_(slots + number_ % kSlots * slot_bytes),
        data_(data),
        bytes_(bytes) {}

 private:
  bool advance() override {
    if (way_.here->sent.load(std::memory_order_relaxed) != number_) {
      return false;  // not this one's turn
    }
    const std::size_t index = number_ % kSlots;
    if (number_ >= kSlots) {
      const std::uint64_t freed =
          way_.there->freed.load(std::memory_order_acquire);
      if (freed + kSlots <= number_) return false;
      way_.freed_there[index]->enqueue_wait();
    }
    cuda::library().copy(slot_, data_, bytes_);
    way_.sent[index]->record();
    way_.here->sent.store(number_ + 1, std::memory_order_release);
    return true;
  }

  Way& way_;
  std::uint64_t number_;
  std::byte* slot_;
  const void* data_;
  std::size_t bytes_;
};

class IpcWays::Receive final : public GpuMessage {
 public:
  Receive(std::vector<GpuMessage*>& in_flight, int peer, Way& way,
          std::size_t slot_bytes, void* data, std::size_t bytes)
      : GpuMessage(in_flight, peer),
        way_(way),
        number_(way.receives++),
        slot_(way.slots_here + number_ % kSlots * slot_bytes),
        data_(data),
        bytes_(bytes) {}

 private:
  bool advance() override {
    if (way_.here->freed.load(std::memory_order_relaxed) != number_) {
      return false;  // not this one's turn
    }
    if (way_.there->sent.load(std::memory_order_acquire) <= number_) {
      return false;
    }
    const std::size_t index = number_ % kSlots;
    way_.sent_there[index]->enqueue_wait();
    cuda::library().copy(data_, slot_, bytes_);
    way_.freed[index]->record();
    way_.here->freed.store(number_ + 1, std::memory_order_release);
    return true;
  }

  Way& way_;
  std::uint64_t number_;
  const std::byte* slot_;
  void* data_;
  std::size_t bytes_;
};

std::unique_ptr<IpcWays> IpcWays::connect(Transport& host,
                                          std::size_t slot_bytes) {
  const std::vector<int> here = host.host_ranks();
  if (here.size() == 1) return nullptr;
  std::unique_ptr<IpcWays> ways;
  try {
    ways.reset(new IpcWays(host, slot_bytes));
  } catch (const Cancelled&) {
    throw;
  } catch (const Error& error) {  // no memory to share, which all of them find
    if (here.front() == host.rank()) tell(error.what());
    return nullptr;
  }
  // Each step on all ranks or on none.
  for (void (IpcWays::*step)() : {&IpcWays::offer, &IpcWays::accept}) {
    std::string why_not;
    try {
      ((*ways).*step)();
    } catch (const Cancelled&) {
      throw;
    } catch (const Error& error) {
      why_not = error.what();
    }
    if (ways->all_are(why_not.empty())) continue;
    if (ways->self_ == 0) tell(why_not);
    return nullptr;
  }
  return ways;
}

IpcWays::IpcWays(Transport& host, std::size_t slot_bytes)
    : host_(host),
      slot_bytes_(slot_bytes),
      memory_(host.host_ranks(), host.rank()),
      ranks_(static_cast<std::size_t>(memory_.size())),
      self_(static_cast<std::size_t>(memory_.rank())),
      ways_(ranks_) {
  const Buffer own = memory_.allocate(host_, Card::bytes_for(ranks_));
  const SharedPlace place = *memory_.find(own.data(), own.bytes());
  for (std::size_t r = 0; r < ranks_; ++r) {
    cards_.push_back(
        reinterpret_cast<Card*>(memory_.at(static_cast<int>(r), place)));
  }
}

// Makes what this rank has for the others.
void IpcWays::offer() {
  cuda::Library& gpu = cuda::library();
  slots_ = static_cast<std::byte*>(gpu.allocate(ranks_ * kSlots * slot_bytes_));
  if (slots_ == nullptr) throw Error("out of memory on the GPU");
  Card& card = *cards_[self_];
  card.process = getpid();
  card.slots = slots_;
  card.slots_handle = gpu.share_memory(slots_);
  for (std::size_t r = 0; r < ranks_; ++r) {
    if (r == self_) continue;
    ways_[r] = std::make_unique<Way>();
    Way& way = *ways_[r];
    Card::Pair& pair = card.with(r);
    for (std::size_t i = 0; i < kSlots; ++i) {
      way.sent[i] = gpu.make_shared_event();
      way.freed[i] = gpu.make_shared_event();
      pair.sent[i] = {way.sent[i]->share(), &way.sent[i]};
      pair.freed[i] = {way.freed[i]->share(), &way.freed[i]};
    }
    way.here = new (&pair.counters) Counters();
    way.slots_here = slots_ + r * kSlots * slot_bytes_;
  }
}

// Takes what the others have for this one.
void IpcWays::accept() {
  cuda::Library& gpu = cuda::library();
  for (std::size_t r = 0; r < ranks_; ++r) {
    if (r == self_) continue;
    Way& way = *ways_[r];
    Card& card = *cards_[r];
    Card::Pair& pair = card.with(self_);
    way.there = &pair.counters;
    const bool here = card.process == getpid();
    if (!here) way.opened = gpu.open_memory(card.slots_handle);
    way.slots_there =
        (here ? card.slots : static_cast<std::byte*>(way.opened)) +
        self_ * kSlots * slot_bytes_;
    const auto taken = [&](const SharedEvent& shared) -> EventPtr {
      return here ? *shared.event : gpu.open_event(shared.handle);
    };
    for (std::size_t i = 0; i < kSlots; ++i) {
      way.sent_there[i] = taken(pair.sent[i]);
      way.freed_there[i] = taken(pair.freed[i]);
    }
  }
}

// Whether this rank and all others of the host are; the ranks meet here twice,
// so that none is ahead with its next word.
bool IpcWays::all_are(bool fine) {
  cards_[self_]->fine = fine;
  const auto meet = [&] {
    std::vector<Transport::RequestPtr> words;
    for (std::size_t r = 0; r < ranks_; ++r) {
      if (r == self_) continue;
      const int peer = memory_.job_rank(static_cast<int>(r));
      words.push_back(host_.irecv(peer, nullptr, 0));
      words.push_back(host_.isend(peer, nullptr, 0));
    }
    for (const auto& word : words) host_.wait(*word);
  };
  meet();
  const bool all = std::all_of(cards_.begin(), cards_.end(),
                               [](const Card* card) { return card->fine; });
  meet();
  return all;
}

// Where ranks have not agreed to end, others may still use the slots.
IpcWays::~IpcWays() {
  for (const auto& way : ways_) {
    if (way && way->opened != nullptr) {
      cuda::library().close_memory(way->opened);
    }
  }
}

// Memory must not be released while others have it open.
void IpcWays::close() {
  for (const auto& way : ways_) {
    if (!way || way->opened == nullptr) continue;
    way->sent_there = way->freed_there = {};
    cuda::library().close_memory(way->opened);
    way->opened = nullptr;
  }
  all_are(true);
  cuda::library().release(slots_);
  slots_ = nullptr;
}

bool IpcWays::reaches(int peer) const {
  const std::vector<int>& here = memory_.ranks();
  return std::find(here.begin(), here.end(), peer) != here.end();
}

IpcWays::Way& IpcWays::way_to(int peer) {
  const std::vector<int>& here = memory_.ranks();
  const auto found = std::find(here.begin(), here.end(), peer);
  return *ways_[static_cast<std::size_t>(found - here.begin())];
}

void IpcWays::check_bytes(std::size_t bytes) const {
  RINGLET_CHECK(bytes <= slot_bytes_, "a message of {} bytes for slots of {}",
                bytes, slot_bytes_);
}

Transport::RequestPtr IpcWays::isend(std::vector<GpuMessage*>& in_flight,
                                     int peer, const void* data,
                                     std::size_t bytes) {
  check_bytes(bytes);
  Way& way = way_to(peer);
  return std::make_unique<Send>(in_flight, peer, way, way.slots_there,
                                slot_bytes_, data, bytes);
}

Transport::RequestPtr IpcWays::irecv(std::vector<GpuMessage*>& in_flight,
                                     int peer, void* data, std::size_t bytes) {
  check_bytes(bytes);
  return std::make_unique<Receive>(in_flight, peer, way_to(peer), slot_bytes_,
                                   data, bytes);
}

}  // namespace ringlet
