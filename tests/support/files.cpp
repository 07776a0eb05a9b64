#include "support/files.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "kernels/runtime/check.h"

namespace ringlet::testing {

TemporaryFolder::TemporaryFolder() {
  std::string name =
      (std::filesystem::temp_directory_path() / "ringlet-test-XXXXXX").string();
  RINGLET_CHECK(mkdtemp(name.data()) != nullptr, "cannot make {}", name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  RINGLET_CHECK(file.good(), "cannot write {}", path.string());
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  RINGLET_CHECK(file.good(), "cannot read {}", path.string());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace ringlet::testing
