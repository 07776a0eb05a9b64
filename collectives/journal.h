#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "collectives/communicator.h"
#include "collectives/ledger.h"
#include "collectives/recorder.h"
#include "collectives/transport.h"

namespace ringlet {

// Which part of a collective a message or a sum is.
struct Place {
  Phase phase;
  std::size_t step;
  std::size_t chunk = 0;
  std::size_t slice = 0;
};

// The way of all messages of a communicator to its transport: counts them, and
// records them if somebody wants it. Without a recorder a message costs two
// additions and an empty Event on the stack; with one, two readings of the
// clock (25 ns each) and the Event's 88 bytes.
class Journal {
 public:
  // A message in flight, and what is known of it. False where there is none.
  class Message {
   public:
    Message() = default;
    explicit operator bool() const { return request_ != nullptr; }

   private:
    friend class Journal;
    Message(Transport::RequestPtr request, const Event& event)
        : request_(std::move(request)), event_(event) {}

    Transport::RequestPtr request_;
    Event event_{};
  };

  // The transport must outlive it. No recorder: nothing is recorded. Several
  // may share a ledger.
  Journal(Transport& transport, std::shared_ptr<Recorder> recorder,
          std::shared_ptr<Ledger> ledger = std::make_shared<Ledger>());

  Transport& transport() const { return transport_; }
  Recorder* recorder() const { return recorder_.get(); }
  Ledger& ledger() { return *ledger_; }
  const std::shared_ptr<Ledger>& shared_ledger() const { return ledger_; }

  // All that follows is part of this call; whether it is recorded is decided
  // here, for all of it.
  void begin_call(const Collective& call);
  void end_call() { end(call_); }

  // As the transport's isend, irecv and wait.
  Message send(const Place& place, int peer, const void* data,
               std::size_t bytes);
  Message receive(const Place& place, int peer, void* data, std::size_t bytes);
  void wait(Message& message);

  // Runs `combine`, which adds `bytes` that came from `peer` to one's own.
  template <typename Combine>
  void reduce(const Place& place, int peer, std::size_t bytes,
              const Combine& combine) {
    Event event = begin(EventKind::kReduce, place, peer, bytes);
    combine();
    transport_.reduced(bytes);
    end(event);
  }

 private:
  Event begin(EventKind kind, const Place& place, int peer,
              std::size_t bytes) const;
  void end(Event& event);

  Transport& transport_;
  std::shared_ptr<Recorder> recorder_;
  std::shared_ptr<Ledger> ledger_;
  bool recording_ = false;  // the call that goes on
  Event call_{};
};

}  // namespace ringlet
