// The input is a checkpoint's manifest without its first line, which is given
// the right sum: what a fuzzer cannot guess, and somebody with bad intent can
// compute. The folder holds one good file of tensors beside it.

#include "engine/io/checkpoint.h"

#include <cstdlib>
#include <string>

#include "engine/io/sha256.h"
#include "tests/fuzz/support.h"

namespace {

using namespace ringlet;
using namespace ringlet::fuzzing;

// A folder with links to files in memory.
class Folder {
 public:
  Folder() {
    std::string name = "/tmp/ringlet-fuzz-XXXXXX";
    require(mkdtemp(name.data()) != nullptr, "no folder in /tmp");
    path_ = name;
    std::filesystem::create_symlink(manifest_.path(), path_ / "manifest.json");
    write_safetensors(path_ / "model.safetensors",
                      {{"bias", Tensor::of({2}, {1, 2})}});
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  void set_manifest(Bytes rest) const {
    std::string text = "{\"sha256_of_the_rest\": \"" +
                       sha256_of(std::as_bytes(rest)) + "\",\n";
    text.append(reinterpret_cast<const char*>(rest.data()), rest.size());
    manifest_.set(
        {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  MemoryFile manifest_;
  std::filesystem::path path_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  static const Folder folder;
  folder.set_manifest({data, size});
  Checkpoint checkpoint;
  if (accepts(folder.path(),
              [&] { checkpoint = read_checkpoint(folder.path()); })) {
    require(checkpoint.folder == folder.path(), "another folder");
  }
  return 0;
}
