// The first byte of the input is how many records are expected, the rest is a
// file of CIFAR-10's binary version.

#include "engine/data/cifar10.h"

#include <algorithm>

#include "tests/fuzz/support.h"

namespace {

using namespace ringlet;
using namespace ringlet::fuzzing;

constexpr std::size_t kMostRecords = 3;
constexpr std::size_t kClasses = 10;

// What the format says, in the shortest way.
bool is_valid(Bytes file, std::size_t records, std::size_t record_bytes) {
  if (file.size() != records * record_bytes) return false;
  for (std::size_t i = 0; i < file.size(); i += record_bytes) {
    if (file[i] >= kClasses) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const MemoryFile input;
  if (size == 0) return 0;
  const std::size_t records = data[0] % (kMostRecords + 1);
  const Bytes file(data + 1, size - 1);
  input.set(file);

  ImageSet set;
  set.classes.resize(kClasses);
  const std::size_t record_bytes = 1 + set.image_bytes();
  const bool accepted = accepts(
      input.path(), [&] { append_cifar10_file(input.path(), records, set); });
  require(accepted == is_valid(file, records, record_bytes),
          "accepted what is not valid, or the reverse");
  if (!accepted) return 0;
  require(set.count() == records, "another number of pictures");
  for (std::size_t i = 0; i < records; ++i) {
    const Bytes record = file.subspan(i * record_bytes, record_bytes);
    require(set.labels[i] == record[0], "another label");
    require(std::equal(record.begin() + 1, record.end(), set.image(i)),
            "other pixels");
  }
  return 0;
}
