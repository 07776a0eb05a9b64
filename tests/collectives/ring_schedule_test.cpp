#include "collectives/ring_schedule.h"

#include <cstdint>
#include <vector>

#include "support/catch.h"

namespace ringlet {
namespace {

// For each element of one rank's array, a bit for each rank whose contribution
// is in it.
using Contributions = std::vector<std::uint32_t>;

std::vector<RingSchedule> all_ranks(int ranks, std::size_t count,
                                    std::size_t slice) {
  std::vector<RingSchedule> schedules;
  for (int rank = 0; rank < ranks; ++rank) {
    schedules.emplace_back(rank, ranks, count, slice);
  }
  return schedules;
}

// Puts what the previous rank sends where this rank receives it. False if the
// two disagree, or a contribution is added twice.
bool deliver(const RingStep& sent, const Contributions& from,
             const RingStep& received, Contributions& to) {
  if (sent.send != received.receive ||
      sent.send_chunk != received.receive_chunk)
    return false;
  for (std::size_t i = sent.send.begin; i < sent.send.end(); ++i) {
    if (received.phase == RingPhase::kAllGather) {
      to[i] = from[i];
    } else if ((to[i] & from[i]) != 0) {
      return false;
    } else {
      to[i] |= from[i];
    }
  }
  return true;
}

// Carries out the schedules of all ranks, step by step.
bool every_rank_ends_with_every_contribution(
    const std::vector<RingSchedule>& schedules, std::size_t count) {
  const std::size_t ranks = schedules.size();
  std::vector<Contributions> data;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    data.emplace_back(count, 1u << rank);
  }
  for (std::size_t i = 0; i < schedules[0].size(); ++i) {
    const std::vector<Contributions> before = data;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      const std::size_t previous = (rank + ranks - 1) % ranks;
      if (!deliver(schedules[previous][i], before[previous], schedules[rank][i],
                   data[rank])) {
        return false;
      }
    }
  }
  const Contributions complete(count, (1u << ranks) - 1);
  return data == std::vector<Contributions>(ranks, complete);
}

TEST_CASE("share puts remainders first and leaves no gap") {
  for (const std::size_t count : {0, 1, 2, 6, 7, 8, 97}) {
    std::size_t next = 5;
    for (std::size_t part = 0; part < 7; ++part) {
      const Range range = share({5, count}, 7, part);
      CHECK(range.begin == next);
      CHECK(range.count == count / 7 + (part < count % 7 ? 1 : 0));
      next = range.end();
    }
    CHECK(next == 5 + count);
  }
}

TEST_CASE("every rank ends with every contribution, once") {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    const auto n = static_cast<std::size_t>(ranks);
    for (const std::size_t count :
         {std::size_t{0}, std::size_t{1}, n - 1, n, n + 1, 3 * n,
          std::size_t{31}, std::size_t{97}}) {
      for (const std::size_t slice : {1, 2, 3, 100}) {
        CAPTURE(ranks, count, slice);
        CHECK(every_rank_ends_with_every_contribution(
            all_ranks(ranks, count, slice), count));
      }
    }
  }
}

TEST_CASE("each rank sends 2 (N-1)/N of the elements, within remainders") {
  for (int ranks = 1; ranks <= 16; ++ranks) {
    const auto n = static_cast<std::size_t>(ranks);
    for (const std::size_t count : {0, 1, 15, 16, 17, 97, 1000}) {
      for (const RingSchedule& schedule : all_ranks(ranks, count, 7)) {
        std::size_t sent = 0;
        for (std::size_t i = 0; i < schedule.size(); ++i) {
          sent += schedule[i].send.count;
        }
        CAPTURE(ranks, count, schedule.rank());
        CHECK(sent >= 2 * (n - 1) * (count / n));
        CHECK(sent <= 2 * (n - 1) * ((count + n - 1) / n));
      }
    }
  }
}

TEST_CASE("a chunk is complete at its own rank after the reduce-scatter") {
  for (const RingSchedule& schedule : all_ranks(5, 50, 4)) {
    const std::size_t last = 4 * schedule.slices() - 1;
    CHECK(schedule[last].phase == RingPhase::kReduceScatter);
    CHECK(schedule[last].receive_chunk ==
          static_cast<std::size_t>(schedule.rank()));
    CHECK(schedule[last + 1].phase == RingPhase::kAllGather);
  }
}

TEST_CASE("no slice is longer than allowed, and no more slices than needed") {
  for (const std::size_t count : {1, 12, 13, 97, 96}) {
    const RingSchedule schedule(0, 3, count, 8);
    for (std::size_t i = 0; i < schedule.size(); ++i) {
      CHECK(schedule[i].send.count <= 8);
    }
    CHECK(schedule.slices() == (schedule.chunk(0).count + 7) / 8);
  }
}

TEST_CASE("a schedule prints as people read it") {
  CHECK(to_string(RingSchedule(1, 2, 3, 8)) ==
        "rank 1 of 2, slices per chunk: 1\n"
        "step 0 reduce-scatter slice 0: send chunk 0 [0, 2) to rank 0, receive "
        "chunk 1 [2, 3) from rank 0\n"
        "step 1 all-gather slice 0: send chunk 1 [2, 3) to rank 0, receive "
        "chunk 0 [0, 2) from rank 0\n");
}

TEST_CASE("a schedule refuses what cannot be") {
  CHECK_THROWS_WITH(RingSchedule(2, 2, 1, 1), ContainsSubstring("rank 2 of 2"));
  CHECK_THROWS_WITH(RingSchedule(0, 2, 1, 0),
                    ContainsSubstring("a slice must hold"));
}

}  // namespace
}  // namespace ringlet
