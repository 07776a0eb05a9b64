#include "collectives/host_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "collectives/host_groups.h"
#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

// Closes a file when its scope ends.
class File {
 public:
  explicit File(int descriptor) : descriptor_(descriptor) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Which file of the system this is; the same number of another process, in
// another namespace, may be another file.
struct Identity {
  std::uint64_t device = 0, inode = 0;

  static Identity of(const File& file) {
    struct stat status {};
    if (fstat(file.get(), &status) != 0) return {};
    return {status.st_dev, status.st_ino};
  }
  bool operator==(const Identity&) const = default;
};

constexpr int kFine = 0;

// Bytes that the system can give; as many as there can be where it does not
// say.
std::size_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kib) == 1) {
      return kib << 10;
    }
  }
  return std::numeric_limits<std::size_t>::max();
}

int check_available(std::size_t bytes) {
  return bytes > available_bytes() ? ENOMEM : kFine;
}

// Takes the memory now, so that a lack of it is an error here, and neither a
// signal nor the end of some other process when a page is first used.
int reserve(const File& file, std::size_t bytes) {
  if (!file.open()) return errno;
  if (const int error = check_available(bytes)) return error;
  return posix_fallocate(file.get(), 0, static_cast<off_t>(bytes));
}

// A file without a name, or a new one at `path`.
int make_file(const std::string& path) {
  if (path.empty()) return memfd_create("ringlet", MFD_CLOEXEC);
  return open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
              S_IRUSR | S_IWUSR);
}

}  // namespace

class HostMemory::Mapping {
 public:
  // Of a file, or where that is not open, of nothing but memory. Null where the
  // system refuses; errno says why.
  static std::shared_ptr<Mapping> make(const File& file, std::size_t bytes) {
    const int flags = MAP_SHARED | (file.open() ? 0 : MAP_ANONYMOUS);
    void* memory =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file.get(), 0);
    if (memory == MAP_FAILED) return nullptr;
    // A wish: where the system has none, small pages do.
    madvise(memory, bytes, MADV_HUGEPAGE);
    return std::make_shared<Mapping>(static_cast<std::byte*>(memory), bytes);
  }

  Mapping(std::byte* memory, std::size_t bytes)
      : memory_(memory), bytes_(bytes) {}
  ~Mapping() { munmap(memory_, bytes_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return memory_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  std::size_t bytes_;
};

// What a rank tells the others of its part of a region.
struct HostMemory::Offer {
  pid_t process;
  int descriptor;
  std::uint64_t bytes;
  Identity identity;
  const std::shared_ptr<Mapping>* mapping;  // for threads of this process
  int error;                                // errno of what went wrong
};

HostMemory::HostMemory(std::vector<int> ranks, int self)
    : ranks_(std::move(ranks)) {
  const auto found = std::find(ranks_.begin(), ranks_.end(), self);
  RINGLET_CHECK(found != ranks_.end(), "rank {} does not share its host's",
                self);
  rank_ = static_cast<int>(found - ranks_.begin());
}

HostMemory::~HostMemory() = default;

// Opens what the others offer; `failed` becomes errno where that cannot be.
HostMemory::Region HostMemory::map_all(const std::vector<Offer>& offers,
                                       int* failed) const {
  Region region;
  for (const Offer& offer : offers) {
    if (offer.process == getpid()) {
      region.push_back(*offer.mapping);
      continue;
    }
    const std::string path =
        fmt::format("/proc/{}/fd/{}", offer.process, offer.descriptor);
    const File file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (file.open() && Identity::of(file) != offer.identity) errno = ESTALE;
    const bool same = file.open() && Identity::of(file) == offer.identity;
    region.push_back(same ? Mapping::make(file, offer.bytes) : nullptr);
    if (!region.back()) {
      *failed = errno;
      return {};
    }
  }
  return region;
}

Buffer HostMemory::allocate(Transport& transport, std::size_t bytes,
                            const std::string& path) {
  // A file of no bytes cannot be mapped.
  const std::size_t mapped = std::max<std::size_t>(bytes, 1);
  const bool needs_file = size() > 1 || !path.empty();
  const File file(needs_file ? make_file(path) : -1);
  int error = needs_file ? reserve(file, mapped) : check_available(mapped);
  std::shared_ptr<Mapping> own;
  if (error == kFine) {
    own = Mapping::make(file, mapped);
    if (!own) error = errno;
  }
  const auto offers = exchange<Offer>(
      transport, ranks_,
      {getpid(), file.get(), mapped,
       error == kFine ? Identity::of(file) : Identity{}, &own, error});
  const auto refused =
      std::find_if(offers.begin(), offers.end(),
                   [](const Offer& offer) { return offer.error != kFine; });
  if (refused != offers.end()) {
    throw Error(
        fmt::format("rank {} gets no {} bytes to share: {}",
                    ranks_[static_cast<std::size_t>(refused - offers.begin())],
                    refused->bytes, std::strerror(refused->error)));
  }
  int failed = kFine;
  Region region = map_all(offers, &failed);
  // Who has this from all others knows too that they have opened its file.
  const std::vector<int> verdicts = exchange(transport, ranks_, failed);
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (verdicts[i] == kFine) continue;
    throw Error(
        fmt::format("rank {} cannot map the memory of the other ranks of its "
                    "host: {}",
                    ranks_[i], std::strerror(verdicts[i])));
  }
  regions_.push_back(std::move(region));
  return Buffer(std::shared_ptr<std::byte>(own, own->data()), bytes);
}

std::optional<SharedPlace> HostMemory::find(const void* data,
                                            std::size_t bytes) const {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const Mapping& own = *regions_[i][static_cast<std::size_t>(rank_)];
    const auto begin = reinterpret_cast<std::uintptr_t>(own.data());
    if (address < begin || address + bytes > begin + own.bytes()) continue;
    return SharedPlace{i, address - begin};
  }
  return std::nullopt;
}

std::byte* HostMemory::at(int of, SharedPlace place) const {
  return regions_[place.region][static_cast<std::size_t>(of)]->data() +
         place.offset;
}

}  // namespace ringlet
