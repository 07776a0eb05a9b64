#include "kernels/runtime/buffer.h"

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.h"

using namespace ringlet;

namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// Every byte of it is `mark`.
bool holds(const Buffer& buffer, int mark) {
  return std::all_of(buffer.data(), buffer.data() + buffer.bytes(),
                     [&](std::byte byte) { return byte == std::byte(mark); });
}

Buffer marked(std::size_t bytes, int mark, Pages pages = Pages::kSmall) {
  const Buffer buffer = Buffer::allocate(bytes, pages);
  std::memset(buffer.data(), mark, bytes);
  return buffer;
}

}  // namespace

TEST_CASE("buffers are aligned, apart from each other, and keep what they hold",
          "[buffer]") {
  constexpr int kMarks = 200, kRounds = 4000;
  std::mt19937 random(1);
  std::uniform_int_distribution<int> shift(0, 21), slot(0, kMarks - 1);
  std::vector<Buffer> live(kMarks);
  for (int round = 0; round < kRounds; ++round) {
    const int mark = slot(random);
    Buffer& buffer = live[static_cast<std::size_t>(mark)];
    CHECK(holds(buffer, mark));
    const std::size_t bytes = random() % (std::size_t{1} << shift(random));
    buffer = Buffer();
    buffer = marked(bytes, mark, mark % 2 ? Pages::kSmall : Pages::kHuge);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64 == 0);
  }
  for (int mark = 0; mark < kMarks; ++mark) {
    CHECK(holds(live[static_cast<std::size_t>(mark)], mark));
  }
}

TEST_CASE("no two live buffers have the same address, not even empty ones",
          "[buffer]") {
  const Buffer a = Buffer::allocate(0), b = Buffer::allocate(0);
  CHECK(a.data() != nullptr);
  CHECK(a.data() != b.data());
}

TEST_CASE("released neighbours are joined and serve larger requests",
          "[buffer]") {
  for (const bool backwards : {false, true}) {
    {
      std::vector<Buffer> parts;
      for (int i = 0; i < 64; ++i) parts.push_back(marked(2 * kMiB, i));
      if (backwards) std::reverse(parts.begin(), parts.end());
      while (!parts.empty()) parts.pop_back();
    }
    const std::size_t before = allocator_stats().bytes_from_system;
    const Buffer whole = marked(128 * kMiB, 1);
    CHECK(allocator_stats().bytes_from_system == before);
  }
}

TEST_CASE("a free piece at the end of the range is lengthened, not left",
          "[buffer]") {
  Buffer buffer =
      Buffer::allocate(allocator_stats().bytes_from_system + 64 * kMiB);
  const std::size_t twice = 2 * buffer.bytes();
  buffer = Buffer();
  buffer = Buffer::allocate(twice);
  CHECK(allocator_stats().bytes_from_system <= twice + 64 * kMiB);
}

// What the kernel was asked for is in smaps; whether it has a huge page to give
// depends on the machine.
TEST_CASE("huge pages are asked for where they are wanted", "[buffer]") {
  std::ifstream setting("/sys/kernel/mm/transparent_hugepage/enabled");
  if (!setting) return;
  const auto asked = [](const Buffer& buffer) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(buffer.data());
    std::ifstream maps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(maps, line);) {
      std::uintptr_t begin = 0, end = 0;
      if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin,
                      &end) == 2) {
        here = begin <= wanted && wanted < end;
      } else if (here && line.starts_with("VmFlags:")) {
        return line.find(" hg") != line.npos;
      }
    }
    throw std::runtime_error("no such memory");
  };
  CHECK(asked(Buffer::allocate(4 * kMiB, Pages::kHuge)));
  CHECK_FALSE(asked(Buffer::allocate(4 * kMiB)));
}

TEST_CASE("what is in use is counted", "[buffer]") {
  const std::size_t before = allocator_stats().bytes_in_use;
  {
    const Buffer a = Buffer::allocate(3 * kMiB), b = Buffer::allocate(100);
    const std::size_t now = allocator_stats().bytes_in_use;
    CHECK(now >= before + 3 * kMiB + 100);
    CHECK(now <= before + 3 * kMiB + 100 + 4096 + 64);
  }
  CHECK(allocator_stats().bytes_in_use == before);
}
