#include "collectives/host_memory.h"

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/runtime/check.h"
#include "support/catch.h"
#include "support/spawn_ranks.h"

namespace ringlet {
namespace {

using testing::spawn_transports;

TEST_CASE("what one rank writes is what the others read") {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    spawn_transports(ranks, [](std::unique_ptr<Transport> transport) {
      const int self = transport->rank();
      HostMemory memory(transport->host_ranks(), self);
      RINGLET_CHECK(memory.rank() == self && memory.size() == transport->size(),
                    "rank {} of {}", memory.rank(), memory.size());
      // Regions of different sizes, the last one of none.
      for (const std::size_t bytes : {100 + 10 * self, 5000, 0}) {
        const Buffer mine = memory.allocate(*transport, bytes);
        RINGLET_CHECK(mine.bytes() == bytes, "{} bytes", mine.bytes());
        for (std::size_t i = 0; i < bytes; ++i) {
          RINGLET_CHECK(mine.data()[i] == std::byte{0}, "byte {} is not 0", i);
        }
        std::memset(mine.data(), 1 + self, bytes);
        const auto place = memory.find(mine.data(), bytes);
        RINGLET_CHECK(place.has_value(), "not found");
        // A message from each rank says that it has written.
        memory.allocate(*transport, 1);
        for (int other = 0; bytes > 0 && other < memory.size(); ++other) {
          const std::byte* theirs = memory.at(other, *place);
          RINGLET_CHECK(theirs[0] == std::byte(1 + other) &&
                            theirs[99] == std::byte(1 + other),
                        "rank {}'s memory holds {}", other, int(theirs[99]));
        }
      }
    });
  }
}

TEST_CASE("a place is found where all its bytes lie in one region") {
  spawn_transports(2, [](std::unique_ptr<Transport> transport) {
    HostMemory memory(transport->host_ranks(), transport->rank());
    const Buffer first = memory.allocate(*transport, 4096);
    const Buffer second = memory.allocate(*transport, 8192);
    const auto place = memory.find(second.data() + 96, 8192 - 96);
    RINGLET_CHECK(place && place->region == 1 && place->offset == 96,
                  "another place");
    const SharedPlace again = SharedPlace::unpack(place->pack());
    RINGLET_CHECK(again.region == 1 && again.offset == 96, "lost in packing");
    RINGLET_CHECK(!memory.find(second.data() + 97, 8192 - 96),
                  "found beyond the end");
    RINGLET_CHECK(!memory.find(first.data() - 1, 2), "found before the begin");
    int of_its_own = 0;
    RINGLET_CHECK(!memory.find(&of_its_own, sizeof of_its_own),
                  "found what is not shared");
  });
}

TEST_CASE("ranks may share in groups, each a host of its own") {
  spawn_transports(5, [](std::unique_ptr<Transport> transport) {
    const int self = transport->rank();
    const std::vector<int> group =
        self % 2 == 0 ? std::vector{0, 2, 4} : std::vector{1, 3};
    HostMemory memory(group, self);
    RINGLET_CHECK(memory.rank() == self / 2, "rank {}", memory.rank());
    const Buffer mine = memory.allocate(*transport, 8);
    std::memcpy(mine.data(), &self, sizeof self);
    memory.allocate(*transport, 1);
    for (int i = 0; i < memory.size(); ++i) {
      int other = 0;
      std::memcpy(&other, memory.at(i, *memory.find(mine.data(), 8)),
                  sizeof other);
      RINGLET_CHECK(other == group[static_cast<std::size_t>(i)],
                    "place {} is rank {}", i, other);
    }
  });
}

TEST_CASE("memory that there is not is refused on all ranks, by name") {
  constexpr std::size_t kTooMuch = std::size_t{1} << 50;
  std::vector<std::string> messages(3);
  spawn_transports(3, [&](std::unique_ptr<Transport> transport) {
    const int self = transport->rank();
    HostMemory memory(transport->host_ranks(), self);
    try {
      memory.allocate(*transport, self == 1 ? kTooMuch : 100);
    } catch (const Error& error) {
      messages[static_cast<std::size_t>(self)] = error.what();
    }
    const Buffer after = memory.allocate(*transport, 100);
    const auto place = memory.find(after.data(), 100);
    RINGLET_CHECK(place && place->region == 0, "the failure left a region");
  });
  for (const std::string& message : messages) {
    CHECK_THAT(message,
               ContainsSubstring("rank 1 gets no 1125899906842624 bytes "
                                 "to share: "));
  }
}

}  // namespace
}  // namespace ringlet
