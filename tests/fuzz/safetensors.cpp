// The input is a safetensors file. One that is accepted accounts for each of
// its bytes, and survives being written and read again.

#include "engine/io/safetensors.h"

#include <cstring>
#include <vector>

#include "tests/fuzz/support.h"

namespace {

using namespace ringlet;
using namespace ringlet::fuzzing;

void check_round_trip(const SafetensorsFile& file) {
  static const MemoryFile copy;
  std::vector<std::uint8_t> written;
  const SafetensorsImage image(file.tensors, file.metadata);
  for (const auto piece : image.pieces()) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(piece.data());
    written.insert(written.end(), begin, begin + piece.size());
  }
  copy.set(written);
  const SafetensorsFile again = read_safetensors(copy.path());
  require(again.metadata == file.metadata, "other metadata");
  require(again.tensors.size() == file.tensors.size(), "other tensors");
  for (const auto& [name, tensor] : file.tensors) {
    const Tensor* other = again.find(name);
    require(other != nullptr, "a tensor is missing");
    require(other->dtype() == tensor.dtype(), "another dtype");
    require(other->shape() == tensor.shape(), "another shape");
    require(tensor.bytes() == 0 ||
                std::memcmp(other->raw(), tensor.raw(), tensor.bytes()) == 0,
            "other data");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const MemoryFile input;
  input.set({data, size});
  SafetensorsFile file;
  if (!accepts(input.path(), [&] { file = read_safetensors(input.path()); })) {
    return 0;
  }
  std::uint64_t accounted = 0;
  std::memcpy(&accounted, data, sizeof accounted);  // the header's length
  accounted += sizeof accounted;
  for (const auto& [name, tensor] : file.tensors) accounted += tensor.bytes();
  require(accounted == size, "bytes that belong to no tensor");
  check_round_trip(file);
  return 0;
}
