#include "collectives/ledger.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <vector>

#include "collectives/algorithm_communicator.h"
#include "collectives/schedule.h"
#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_ranks;
using Ledgers = std::vector<Ledger>;

constexpr std::size_t kSlice = 16;  // floats

// What each rank's ledger holds after `body`.
Ledgers after(int ranks, const std::string& algorithm,
              const std::function<void(Communicator&)>& body) {
  Ledgers ledgers(static_cast<std::size_t>(ranks));
  spawn_ranks(
      ranks,
      [&](Communicator& communicator) {
        body(communicator);
        ledgers[static_cast<std::size_t>(communicator.rank())] =
            *communicator.ledger();
      },
      {.slice_bytes = kSlice * sizeof(float)}, algorithm);
  return ledgers;
}

Ledgers after_all_reduce(int ranks, const std::string& algorithm,
                         std::size_t count) {
  return after(ranks, algorithm, [&](Communicator& communicator) {
    std::vector<float> data(count, 1.0f);
    communicator.all_reduce(data.data(), count, Dtype::kF32, ReduceOp::kSum);
  });
}

// Messages of `floats` each, cut into slices of their own.
Traffic sent(std::uint64_t messages, std::size_t floats) {
  const std::size_t slices = (floats + kSlice - 1) / kSlice;
  return {messages * slices, messages * floats * sizeof(float), 0, 0};
}
Traffic received(std::uint64_t messages, std::size_t floats) {
  const Traffic t = sent(messages, floats);
  return {0, 0, t.messages_sent, t.bytes_sent};
}
Traffic operator+(const Traffic& a, const Traffic& b) {
  return {a.messages_sent + b.messages_sent, a.bytes_sent + b.bytes_sent,
          a.messages_received + b.messages_received,
          a.bytes_received + b.bytes_received};
}

// The formulas, each for one rank's part of an all-reduce.
struct Chunks {
  std::size_t ranks, count;

  std::size_t size(std::size_t chunk) const {
    return count / ranks + (chunk % ranks < count % ranks ? 1 : 0);
  }
  // All chunks are cut into as many slices as the longest takes, of which those
  // without an element are no message.
  std::uint64_t messages(std::size_t chunk) const {
    return std::min((size(0) + kSlice - 1) / kSlice, size(chunk));
  }
  Traffic sent_but(std::size_t left_out) const {
    Traffic traffic;
    for (std::size_t chunk = 0; chunk < ranks; ++chunk) {
      if (chunk == left_out % ranks) continue;
      traffic.messages_sent += messages(chunk);
      traffic.bytes_sent += size(chunk) * sizeof(float);
    }
    return traffic;
  }
  Traffic received_but(std::size_t left_out) const {
    const Traffic t = sent_but(left_out);
    return {0, 0, t.messages_sent, t.bytes_sent};
  }
};

using Phases = std::map<Phase, Traffic>;
using Formula = Phases (*)(std::size_t rank, std::size_t ranks,
                           std::size_t count);

// All chunks but one go out and come in, in either half.
Phases ring(std::size_t rank, std::size_t ranks, std::size_t count) {
  const Chunks chunks{ranks, count};
  return {{Phase::kReduceScatter,
           chunks.sent_but(rank) + chunks.received_but(rank + ranks - 1)},
          {Phase::kAllGather,
           chunks.sent_but(rank + 1) + chunks.received_but(rank)}};
}

// In the first half the own chunk comes in from everybody.
Phases ordered(std::size_t rank, std::size_t ranks, std::size_t count) {
  const Chunks chunks{ranks, count};
  Phases phases = ring(rank, ranks, count);
  phases[Phase::kReduceScatter] =
      chunks.sent_but(rank) +
      Traffic{0, 0, (ranks - 1) * chunks.messages(rank),
              (ranks - 1) * chunks.size(rank) * sizeof(float)};
  return phases;
}

Phases naive(std::size_t rank, std::size_t ranks, std::size_t count) {
  const std::uint64_t others = ranks - 1;
  if (rank == 0) {
    return {{Phase::kReduce, received(others, count)},
            {Phase::kBroadcast, sent(others, count)}};
  }
  return {{Phase::kReduce, sent(1, count)},
          {Phase::kBroadcast, received(1, count)}};
}

Phases tree(std::size_t rank, std::size_t ranks, std::size_t count) {
  std::uint64_t children = 0;
  for (std::size_t bit = 1; rank + bit < ranks && (rank & bit) == 0; bit *= 2) {
    ++children;
  }
  const std::uint64_t parents = rank == 0 ? 0 : 1;
  return {
      {Phase::kReduce, received(children, count) + sent(parents, count)},
      {Phase::kBroadcast, sent(children, count) + received(parents, count)}};
}

Phases recursive_doubling(std::size_t rank, std::size_t ranks,
                          std::size_t count) {
  const std::size_t power = std::bit_floor(ranks);
  if (rank >= power) {
    return {{Phase::kReduce, sent(1, count)},
            {Phase::kBroadcast, received(1, count)}};
  }
  const auto rounds = static_cast<std::uint64_t>(std::countr_zero(power));
  const std::uint64_t extra = rank + power < ranks ? 1 : 0;
  return {{Phase::kReduce, received(extra, count)},
          {Phase::kExchange, sent(rounds, count) + received(rounds, count)},
          {Phase::kBroadcast, sent(extra, count)}};
}

bool holds(const Ledger& ledger, const Phases& expected) {
  for (std::size_t i = 0; i < kPhases; ++i) {
    const auto phase = static_cast<Phase>(i);
    const auto found = expected.find(phase);
    if (ledger.of(phase) !=
        (found == expected.end() ? Traffic() : found->second)) {
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("the ledger of an all-reduce is what its formula says") {
  const std::map<std::string, Formula> formulas{
      {"ring", ring},
      {"ordered", ordered},
      {"naive", naive},
      {"tree", tree},
      {"recursive_doubling", recursive_doubling}};
  const std::string algorithm = GENERATE(from_range(schedule_names()));
  const Formula formula = formulas.at(algorithm);
  for (std::size_t ranks = 1; ranks <= 8; ++ranks) {
    for (const std::size_t count : {0, 1, 7, 8, 333, 1024}) {
      const Ledgers ledgers =
          after_all_reduce(static_cast<int>(ranks), algorithm, count);
      for (std::size_t rank = 0; rank < ranks; ++rank) {
        CAPTURE(algorithm, ranks, count, rank);
        CHECK(holds(ledgers[rank], formula(rank, ranks, count)));
      }
    }
  }
}

TEST_CASE("a ring sends 2 (N-1)/N S per rank, in N-1 and N-1 messages") {
  for (const int ranks : {2, 3, 4, 8}) {
    const auto others = static_cast<std::uint64_t>(ranks - 1);
    const std::size_t count = kSlice * static_cast<std::size_t>(ranks);
    for (const Ledger& ledger : after_all_reduce(ranks, "ring", count)) {
      const std::uint64_t messages = 2 * others,
                          bytes = messages * kSlice * sizeof(float);
      CHECK((ledger.total() == Traffic{messages, bytes, messages, bytes}));
    }
  }
}

TEST_CASE("the other collectives, too") {
  const Ledgers broadcast = after(4, "ring", [](Communicator& communicator) {
    std::vector<float> data(kSlice);
    communicator.broadcast(data.data(), data.size() * sizeof(float), 0);
  });
  CHECK((broadcast[0].of(Phase::kBroadcast) == sent(2, kSlice)));
  CHECK((broadcast[3].total() == received(1, kSlice)));

  for (const Ledger& ledger : after(5, "ring", [](Communicator& communicator) {
         communicator.barrier();
       })) {
    CHECK((ledger.of(Phase::kBarrier) == Traffic{3, 0, 3, 0}));
    CHECK((ledger.total() == Traffic{3, 0, 3, 0}));
  }
}

TEST_CASE("a ledger counts on until it is cleared") {
  spawn_ranks(2, [](Communicator& communicator) {
    const auto reduce = [&] {
      float value = 1;
      communicator.all_reduce_async(&value, 1, Dtype::kF32, ReduceOp::kSum)
          .wait();
    };
    reduce();
    const Traffic once = communicator.ledger()->total();
    reduce();
    RINGLET_CHECK(communicator.ledger()->total() == once + once,
                  "two calls are not twice one");
    communicator.clear_ledger();
    RINGLET_CHECK(communicator.ledger()->total() == Traffic(),
                  "a cleared ledger holds something");
  });
  SUCCEED("no rank threw");
}

TEST_CASE("solo sends nothing") {
  const auto solo = make_communicator("solo");
  float value = 1;
  solo->all_reduce(&value, 1, Dtype::kF32, ReduceOp::kSum);
  REQUIRE(solo->ledger() != nullptr);
  CHECK((solo->ledger()->total() == Traffic()));
}

}  // namespace ringlet
