#include "engine/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "kernels/runtime/check.h"

namespace ringlet {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little,
              "the format is little endian, and so is what is read into it");

constexpr std::size_t kPrefixBytes = sizeof(std::uint64_t);
constexpr std::uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr int kHeaderDepth = 3;       // {name: {shape: [dimension]}}
constexpr std::size_t kMostDims = 8;  // far more than any layer has
constexpr const char* kMetadataKey = "__metadata__";

struct DtypeName {
  Dtype dtype;
  const char* name;
};
constexpr DtypeName kDtypeNames[] = {{Dtype::kF32, "F32"},
                                     {Dtype::kF64, "F64"},
                                     {Dtype::kI32, "I32"},
                                     {Dtype::kI64, "I64"},
                                     {Dtype::kU8, "U8"}};

// One tensor as the header tells of it.
struct Entry {
  std::string name;
  Dtype dtype;
  Shape shape;
  std::uint64_t begin;
  std::uint64_t end;
};

// Header text in messages: as JSON, cut short, and on one line whatever bytes
// the file holds.
std::string shown(const json& value) {
  constexpr std::size_t kLongest = 100;
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  return text;
}

// Checks one header against one file; its path starts every message.
class HeaderReader {
 public:
  HeaderReader(const std::filesystem::path& path, std::uint64_t data_bytes)
      : path_(path), data_bytes_(data_bytes) {}

  void read(const std::string& text) {
    const json header = parse(text);
    for (const auto& [name, value] : header.items()) {
      if (name == kMetadataKey) {
        read_metadata(value);
      } else {
        entries_.push_back(read_entry(name, value));
      }
    }
    check_offsets();
  }

  const std::vector<Entry>& entries() const { return entries_; }
  const Metadata& metadata() const { return metadata_; }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
    throw Error(fmt::format("{}: {}", path_.string(),
                            fmt::format(text, std::forward<Args>(args)...)));
  }

  template <typename... Args>
  [[noreturn]] void fail_tensor(const std::string& name,
                                fmt::format_string<Args...> text,
                                Args&&... args) {
    fail("tensor {}: {}", shown(name),
         fmt::format(text, std::forward<Args>(args)...));
  }

  // Refuses repeated names and nesting, which the JSON library would accept.
  json parse(const std::string& text) {
    std::vector<std::set<std::string>> names(kHeaderDepth + 1);
    const auto watch = [&](int depth, json::parse_event_t event, json& value) {
      if (depth >= kHeaderDepth &&
          (event == json::parse_event_t::object_start ||
           event == json::parse_event_t::array_start)) {
        fail("header nests deeper than {} levels", kHeaderDepth);
      }
      const auto level = static_cast<std::size_t>(depth);
      if (event == json::parse_event_t::object_start) names[level + 1].clear();
      if (event == json::parse_event_t::key &&
          !names[level].insert(value.get<std::string>()).second) {
        fail("header names {} twice, expected once", shown(value));
      }
      return true;
    };
    try {
      json header = json::parse(text, watch);
      if (!header.is_object()) fail("header is not a JSON object");
      return header;
    } catch (const json::exception&) {
      fail("header is not valid JSON");
    }
  }

  void read_metadata(const json& value) {
    if (!value.is_object()) fail("{} is not an object", kMetadataKey);
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        fail("{} holds {} for {}, expected a string", kMetadataKey, shown(text),
             shown(key));
      }
      metadata_[key] = text;
    }
  }

  Entry read_entry(const std::string& name, const json& value) {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
        !value.contains("shape") || !value.contains("data_offsets")) {
      fail_tensor(name, "is {}, expected dtype, shape and data_offsets",
                  shown(value));
    }
    const json& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2 ||
        !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()) {
      fail_tensor(name, "data_offsets is {}, expected [begin, end]",
                  shown(offsets));
    }
    Entry entry{name, read_dtype(name, value["dtype"]),
                read_shape(name, value["shape"]), offsets[0], offsets[1]};
    check_size(entry);
    return entry;
  }

  Dtype read_dtype(const std::string& name, const json& value) {
    for (const auto& known : kDtypeNames) {
      if (value == known.name) return known.dtype;
    }
    fail_tensor(name, "dtype is {}, expected F32, F64, I32, I64 or U8",
                shown(value));
  }

  Shape read_shape(const std::string& name, const json& value) {
    if (!value.is_array() || value.size() > kMostDims) {
      fail_tensor(name, "shape is {}, expected at most {} sizes", shown(value),
                  kMostDims);
    }
    Shape shape;
    for (const json& size : value) {
      if (!size.is_number_unsigned() ||
          size.get<std::uint64_t>() >
              static_cast<std::uint64_t>(
                  std::numeric_limits<Shape::value_type>::max())) {
        fail_tensor(name, "shape is {}, expected sizes of 0 and more",
                    shown(value));
      }
      shape.push_back(size);
    }
    return shape;
  }

  // Multiplies with an eye on overflow: a wrapped product would let a small
  // stretch of the file pass for a large tensor.
  void check_size(const Entry& entry) {
    std::uint64_t bytes = size_of(entry.dtype);
    for (const auto size : entry.shape) {
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size),
                                 &bytes)) {
        fail_tensor(entry.name, "shape {} is more than 2^64 bytes",
                    to_string(entry.shape));
      }
    }
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      fail_tensor(entry.name,
                  "data_offsets are [{}, {}], expected to lie in the {} bytes "
                  "of data",
                  entry.begin, entry.end, data_bytes_);
    }
    if (entry.end - entry.begin != bytes) {
      fail_tensor(entry.name,
                  "data_offsets [{}, {}] hold {} bytes, expected {} for {} {}",
                  entry.begin, entry.end, entry.end - entry.begin, bytes,
                  name_of(entry.dtype), to_string(entry.shape));
    }
  }

  // In the order of their data, tensors must follow one another exactly.
  void check_offsets() {
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) {
                return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
              });
    std::uint64_t expected = 0;
    for (const Entry& entry : entries_) {
      if (entry.begin != expected) {
        fail_tensor(
            entry.name, "data begin at {}, expected {}: {}", entry.begin,
            expected,
            entry.begin < expected ? "tensors overlap" : "a hole in the data");
      }
      expected = entry.end;
    }
    if (expected != data_bytes_) {
      fail("{} bytes of data, but the tensors end at {}", data_bytes_,
           expected);
    }
  }

  const std::filesystem::path& path_;
  std::uint64_t data_bytes_;
  std::vector<Entry> entries_;
  Metadata metadata_;
};

void read_bytes(std::ifstream& file, void* target, std::uint64_t bytes,
                const std::filesystem::path& path) {
  file.read(static_cast<char*>(target), static_cast<std::streamsize>(bytes));
  if (!file) {
    throw Error(fmt::format("{}: cannot read {} bytes", path.string(), bytes));
  }
}

// The header's text, its length checked against the file's size first.
std::string read_header(std::ifstream& file, std::uint64_t file_bytes,
                        const std::filesystem::path& path) {
  if (file_bytes < kPrefixBytes) {
    throw Error(fmt::format("{}: {} bytes, expected at least {}", path.string(),
                            file_bytes, kPrefixBytes));
  }
  std::uint64_t length = 0;
  read_bytes(file, &length, kPrefixBytes, path);
  const std::uint64_t most =
      std::min(kLargestHeader, file_bytes - kPrefixBytes);
  if (length > most) {
    throw Error(fmt::format("{}: header length {}, expected at most {}",
                            path.string(), length, most));
  }
  std::string text(length, '\0');
  read_bytes(file, text.data(), length, path);
  return text;
}

const char* format_name(Dtype dtype) {
  for (const auto& known : kDtypeNames) {
    if (known.dtype == dtype) return known.name;
  }
  RINGLET_CHECK(false, "no safetensors name for {}", name_of(dtype));
}

void sort_for_alignment(std::vector<NamedTensor>& tensors) {
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const NamedTensor& a, const NamedTensor& b) {
                     return size_of(a.tensor.dtype()) >
                            size_of(b.tensor.dtype());
                   });
}

std::string make_header(const std::vector<NamedTensor>& tensors,
                        const Metadata& metadata) {
  ordered_json header = ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::size_t begin = 0;
  for (const auto& [name, tensor] : tensors) {
    RINGLET_CHECK(!header.contains(name) && name != kMetadataKey,
                  "tensor name '{}' is taken", name);
    RINGLET_CHECK(tensor.defined() && tensor.layout() == Layout::kPlain,
                  "tensor '{}' has no plain data", name);
    const std::size_t end = begin + tensor.bytes();
    header[name] = {{"dtype", format_name(tensor.dtype())},
                    {"shape", tensor.shape()},
                    {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text =
      header.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  text.resize(round_up(text.size(), 8), ' ');
  return text;
}

}  // namespace

const Tensor* SafetensorsFile::find(const std::string& name) const {
  for (const auto& named : tensors) {
    if (named.name == name) return &named.tensor;
  }
  return nullptr;
}

SafetensorsFile read_safetensors(const std::filesystem::path& path) {
  std::error_code reason;
  const std::uint64_t file_bytes = std::filesystem::file_size(path, reason);
  std::ifstream file(path, std::ios::binary);
  if (reason || !file) {
    throw Error(fmt::format("{}: cannot read: {}", path.string(),
                            reason ? reason.message() : "open failed"));
  }
  const std::string header = read_header(file, file_bytes, path);
  HeaderReader reader(path, file_bytes - kPrefixBytes - header.size());
  reader.read(header);

  SafetensorsFile result{reader.metadata(), {}};
  for (const Entry& entry : reader.entries()) {
    const Tensor tensor(entry.shape, entry.dtype);
    read_bytes(file, tensor.raw(), entry.end - entry.begin, path);
    result.tensors.push_back({entry.name, tensor});
  }
  return result;
}

SafetensorsImage::SafetensorsImage(std::vector<NamedTensor> tensors,
                                   const Metadata& metadata)
    : tensors_(std::move(tensors)) {
  sort_for_alignment(tensors_);
  const std::string header = make_header(tensors_, metadata);
  const std::uint64_t length = header.size();
  head_.assign(reinterpret_cast<const char*>(&length), sizeof length);
  head_ += header;
}

FilePieces SafetensorsImage::pieces() const {
  FilePieces pieces{std::as_bytes(std::span(head_))};
  for (const auto& [name, tensor] : tensors_) {
    pieces.emplace_back(static_cast<const std::byte*>(tensor.raw()),
                        tensor.bytes());
  }
  return pieces;
}

void write_safetensors(const std::filesystem::path& path,
                       std::vector<NamedTensor> tensors,
                       const Metadata& metadata) {
  write_file_atomically(
      path, SafetensorsImage(std::move(tensors), metadata).pieces());
}

}  // namespace ringlet
