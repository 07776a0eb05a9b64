#include "collectives/schedule.h"

#include <bit>
#include <cstdint>
#include <vector>

#include "collectives/schedule_simulation.h"
#include "collectives/schedules.h"
#include "support/catch.h"

namespace ringlet {
namespace {

using testing::Contributions;
using testing::Schedules;
using testing::Simulation;

Schedules all_ranks(const std::string& name, int ranks, std::size_t count,
                    std::size_t slice) {
  Schedules schedules;
  for (int rank = 0; rank < ranks; ++rank) {
    schedules.push_back(make_schedule(name, rank, ranks, count, slice));
  }
  return schedules;
}

// The result of a simulation that every rank ends with everything.
bool all_complete(const std::string& name, int ranks, std::size_t count,
                  std::size_t slice, std::size_t window) {
  const Schedules schedules = all_ranks(name, ranks, count, slice);
  Simulation simulation(schedules, count, window);
  simulation.run();
  const std::uint64_t everybody = ~std::uint64_t{0} >> (64 - ranks);
  for (std::size_t rank = 0; rank < schedules.size(); ++rank) {
    if (simulation.data(rank) != Contributions(count, everybody)) return false;
  }
  return true;
}

struct Traffic {
  std::size_t elements = 0, messages = 0;
};

Traffic sent_by(const Schedule& schedule) {
  Traffic traffic;
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    const std::size_t count = schedule[i].send.range.count;
    traffic.elements += count;
    traffic.messages += count > 0 ? 1 : 0;
  }
  return traffic;
}

std::size_t log2_up(int ranks) {
  return static_cast<std::size_t>(
      std::bit_width(static_cast<unsigned>(ranks - 1)));
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

TEST_CASE("on every rank of up to 64, every contribution arrives once") {
  using Sizes = std::vector<std::size_t>;
  const std::string name = GENERATE(from_range(schedule_names()));
  for (int ranks = 1; ranks <= 64; ++ranks) {
    const auto n = static_cast<std::size_t>(ranks);
    // Many ranks take long, and differ from few in nothing but their number.
    const bool few = ranks <= 16;
    for (const std::size_t count : Sizes{0, 1, n - 1, n, n + 1, 97}) {
      for (const std::size_t slice : few ? Sizes{1, 5, 100} : Sizes{1}) {
        for (const std::size_t window : few ? Sizes{1, 3} : Sizes{2}) {
          CAPTURE(name, ranks, count, slice, window);
          CHECK(all_complete(name, ranks, count, slice, window));
        }
      }
    }
  }
}

TEST_CASE("half a ring is a reduce-scatter, the other half an all-gather") {
  for (int ranks = 2; ranks <= 9; ++ranks) {
    constexpr std::size_t kCount = 50;
    Schedules first, second;
    for (int rank = 0; rank < ranks; ++rank) {
      first.push_back(std::make_unique<RingSchedule>(
          rank, ranks, kCount, 4, RingSchedule::Part::kReduceScatter));
      second.push_back(std::make_unique<RingSchedule>(
          rank, ranks, kCount, 4, RingSchedule::Part::kAllGather));
    }
    Simulation reduce(first, kCount, 2), gather(second, kCount, 2);
    reduce.run();
    gather.run();
    const std::uint64_t everybody = ~std::uint64_t{0} >> (64 - ranks);
    for (std::size_t rank = 0; rank < first.size(); ++rank) {
      const Range own = share({0, kCount}, first.size(), rank);
      for (std::size_t i = own.begin; i < own.end(); ++i) {
        CHECK(reduce.data(rank)[i] == everybody);
      }
      for (std::size_t owner = 0; owner < first.size(); ++owner) {
        const Range chunk = share({0, kCount}, first.size(), owner);
        for (std::size_t i = chunk.begin; i < chunk.end(); ++i) {
          CHECK(gather.data(rank)[i] == std::uint64_t{1} << owner);
        }
      }
    }
  }
}

TEST_CASE("half a tree reduces to any root, the other half broadcasts") {
  for (int ranks = 1; ranks <= 17; ++ranks) {
    for (int root = 0; root < ranks; ++root) {
      constexpr std::size_t kCount = 3;
      Schedules up, down;
      for (int rank = 0; rank < ranks; ++rank) {
        up.push_back(std::make_unique<TreeSchedule>(
            rank, ranks, kCount, 2, TreeSchedule::Part::kReduce, root));
        down.push_back(std::make_unique<TreeSchedule>(
            rank, ranks, kCount, 2, TreeSchedule::Part::kBroadcast, root));
      }
      Simulation reduce(up, kCount, 2), broadcast(down, kCount, 2);
      reduce.run();
      broadcast.run();
      const std::uint64_t everybody = ~std::uint64_t{0} >> (64 - ranks);
      const auto at = static_cast<std::size_t>(root);
      CAPTURE(ranks, root);
      CHECK(reduce.data(at) == Contributions(kCount, everybody));
      for (std::size_t rank = 0; rank < up.size(); ++rank) {
        CHECK(broadcast.data(rank) ==
              Contributions(kCount, std::uint64_t{1} << root));
      }
    }
  }
}

TEST_CASE("a rank of the ring, and of ordered, sends 2 (N-1)/N of the array") {
  const char* name = GENERATE("ring", "ordered");
  for (int ranks = 1; ranks <= 64; ++ranks) {
    const auto n = static_cast<std::size_t>(ranks);
    for (const std::size_t count : {0, 1, 15, 16, 17, 97, 1000}) {
      for (const auto& schedule : all_ranks(name, ranks, count, 1000)) {
        const Traffic sent = sent_by(*schedule);
        CAPTURE(name, ranks, count, schedule->rank());
        CHECK(sent.elements >= 2 * (n - 1) * (count / n));
        CHECK(sent.elements <= 2 * (n - 1) * ((count + n - 1) / n));
        if (count >= n) CHECK(sent.messages == 2 * (n - 1));
      }
    }
  }
}

TEST_CASE("the others' traffic is what their pictures say") {
  constexpr std::size_t kCount = 10;
  for (int ranks = 1; ranks <= 64; ++ranks) {
    const auto n = static_cast<std::size_t>(ranks);
    CAPTURE(ranks);
    std::size_t naive = 0, tree = 0, most_doubling = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const auto sent = [&](const char* name) {
        return sent_by(*make_schedule(name, rank, ranks, kCount, kCount))
            .elements;
      };
      naive += sent("naive");
      tree += sent("tree");
      most_doubling = std::max(most_doubling, sent("recursive_doubling"));
    }
    CHECK(naive == 2 * (n - 1) * kCount);
    CHECK(tree == 2 * (n - 1) * kCount);
    CHECK(sent_by(*make_schedule("naive", 0, ranks, kCount, kCount)).elements ==
          (n - 1) * kCount);
    CHECK(sent_by(*make_schedule("tree", 0, ranks, kCount, kCount)).elements ==
          log2_up(ranks) * kCount);
    CHECK(most_doubling == log2_up(ranks) * kCount);
  }
}

TEST_CASE("steps are as many as the pictures say") {
  for (int ranks = 2; ranks <= 64; ++ranks) {
    const auto steps = [&](const char* name) {
      std::size_t most = 0;
      for (const auto& schedule : all_ranks(name, ranks, 2 * 64, 1000)) {
        for (std::size_t i = 0; i < schedule->size(); ++i) {
          most = std::max(most, (*schedule)[i].step + 1);
        }
      }
      return most;
    };
    const auto n = static_cast<std::size_t>(ranks);
    const bool power_of_two = std::has_single_bit(static_cast<unsigned>(ranks));
    CAPTURE(ranks);
    CHECK(steps("ring") == 2 * (n - 1));
    CHECK(steps("ordered") == 2 * (n - 1));
    CHECK(steps("naive") == 2 * (n - 1));
    CHECK(steps("tree") == 2 * log2_up(ranks));
    CHECK(steps("recursive_doubling") ==
          log2_up(ranks) + (power_of_two ? 0 : 1));
  }
}

TEST_CASE("no slice is longer than allowed, and no more slices than needed") {
  for (const std::size_t count : {1, 12, 13, 97, 96}) {
    for (const std::string& name : schedule_names()) {
      const auto schedule = make_schedule(name, 0, 3, count, 8);
      const std::size_t longest = name == "ring" || name == "ordered"
                                      ? share({0, count}, 3, 0).count
                                      : count;
      for (std::size_t i = 0; i < schedule->size(); ++i) {
        CHECK((*schedule)[i].send.range.count <= 8);
      }
      CHECK(schedule->slices() == (longest + 7) / 8);
    }
  }
}

TEST_CASE("a schedule prints as people read it") {
  CHECK(to_string(*make_schedule("ring", 1, 2, 3, 8)) ==
        "ring, rank 1 of 2, slices per message: 1\n"
        "step 0 reduce-scatter slice 0: send chunk 0 [0, 2) to rank 0, receive "
        "and combine chunk 1 [2, 3) from rank 0\n"
        "step 1 all-gather slice 0: send chunk 1 [2, 3) to rank 0, receive "
        "chunk 0 [0, 2) from rank 0\n");
}

TEST_CASE("a schedule refuses what cannot be") {
  CHECK_THROWS_WITH(make_schedule("ring", 2, 2, 1, 1),
                    ContainsSubstring("rank 2 of 2"));
  CHECK_THROWS_WITH(make_schedule("tree", 0, 2, 1, 0),
                    ContainsSubstring("a slice must hold"));
  CHECK_THROWS_WITH(make_schedule("star", 0, 2, 1, 1),
                    ContainsSubstring("no schedule 'star', expected one of"));
}

}  // namespace
}  // namespace ringlet
