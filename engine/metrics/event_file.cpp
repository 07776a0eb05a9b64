#include "engine/metrics/event_file.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are written as they lie in memory");

// How a protocol buffer holds a field, and the fields' numbers.
enum WireType { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
namespace event {
constexpr unsigned kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5,
                   kSessionLog = 7;
}
namespace session_log {
constexpr unsigned kStatus = 1;
constexpr std::uint64_t kStart = 1;
}  // namespace session_log
namespace summary {
constexpr unsigned kValue = 1, kTag = 1, kSimpleValue = 2;
}

template <typename Number>
std::string raw(Number number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

// Seven bits a byte, the lowest first; all bytes but the last are marked.
std::string varint(std::uint64_t number) {
  constexpr unsigned kBits = 7, kMore = 1 << kBits;
  std::string bytes;
  for (; number >= kMore; number >>= kBits) {
    bytes += static_cast<char>(number % kMore | kMore);
  }
  return bytes + static_cast<char>(number);
}

std::string field(unsigned number, WireType type, const std::string& value) {
  constexpr unsigned kTypeBits = 3;
  return varint(number << kTypeBits | type) + value;
}

std::string bytes_field(unsigned number, const std::string& content) {
  return field(number, kBytes, varint(content.size()) + content);
}

std::string event_at(std::size_t step, const std::string& what) {
  const std::chrono::duration<double> time =
      std::chrono::system_clock::now().time_since_epoch();
  return field(event::kWallTime, kFixed64, raw(time.count())) +
         field(event::kStep, kVarint, varint(step)) + what;
}

constexpr std::array<std::uint32_t, 256> crc_table() {
  constexpr std::uint32_t kReversedPolynomial = 0x82f63b78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ (crc & 1 ? kReversedPolynomial : 0);
    }
    table[byte] = crc;
  }
  return table;
}

// So that the checksum of data that hold checksums is a good one.
std::uint32_t masked_crc32c(std::string_view bytes) {
  constexpr std::uint32_t kMask = 0xa282ead8;
  constexpr int kRotation = 15;
  return std::rotr(crc32c(bytes), kRotation) + kMask;
}

// TensorBoard reads the files of a folder in the order of their names, which
// must hold "tfevents". A number, since clocks may go back.
std::filesystem::path next_file(const std::filesystem::path& folder) {
  std::error_code reason;
  std::filesystem::create_directories(folder, reason);
  if (reason) {
    throw Error(fmt::format("{}: cannot make this folder: {}", folder.string(),
                            reason.message()));
  }
  for (int number = 1;; ++number) {
    std::filesystem::path file =
        folder / fmt::format("events.out.tfevents.{:010}", number);
    if (!std::filesystem::exists(file)) return file;
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<std::uint32_t, 256> kTable = crc_table();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  }
  return ~crc;
}

EventFile::EventFile(const std::filesystem::path& folder,
                     std::size_t first_step)
    : file_(next_file(folder)) {
  write_record(event_at(0, bytes_field(event::kFileVersion, "brain.Event:2")));
  write_record(event_at(
      first_step,
      bytes_field(event::kSessionLog, field(session_log::kStatus, kVarint,
                                            varint(session_log::kStart)))));
}

void EventFile::write(std::size_t step, const std::vector<Scalar>& scalars) {
  std::string values;
  for (const auto& [tag, value] : scalars) {
    values +=
        bytes_field(summary::kValue, bytes_field(summary::kTag, tag) +
                                         field(summary::kSimpleValue, kFixed32,
                                               raw(static_cast<float>(value))));
  }
  write_record(event_at(step, bytes_field(event::kSummary, values)));
}

void EventFile::write_record(const std::string& event) {
  const std::string length = raw(std::uint64_t{event.size()});
  file_.write(length + raw(masked_crc32c(length)) + event +
              raw(masked_crc32c(event)));
}

}  // namespace ringlet
