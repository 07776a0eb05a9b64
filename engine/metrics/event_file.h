#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/metrics/log_file.h"

namespace ringlet {

struct Scalar {
  std::string tag;  // "train/loss": TensorBoard groups by what is before the /
  double value;     // kept as f32
};

// Scalars over the steps of a run, as TensorBoard reads them: a file of
// records,
//
//   length (8 bytes) | its checksum (4) | an event | its checksum (4)
//
// all little-endian. An event is a protocol buffer `Event`
// (tensorflow/core/util/event.proto); the checksum is a masked CRC-32C, as in
// TFRecord files. The first event is the version of the format, the second says
// which steps begin here: TensorBoard forgets what earlier files of the folder
// have of these.
//
// A step takes some hundred bytes and microseconds.
class EventFile {
 public:
  // Begins a new file in `folder`, made where it is missing; it comes after
  // those that are there. Throws an Error that names what cannot be made.
  EventFile(const std::filesystem::path& folder, std::size_t first_step);

  // Throws an Error with path and reason, on a full disk say.
  void write(std::size_t step, const std::vector<Scalar>& scalars);

 private:
  void write_record(const std::string& event);

  LogFile file_;
};

// CRC-32C (Castagnoli) of `bytes`, as in RFC 3720, B.4.
std::uint32_t crc32c(std::string_view bytes);

}  // namespace ringlet
