#include "engine/io/hash_log.h"

#include <fmt/format.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "kernels/runtime/error.h"

namespace ringlet {
namespace {

constexpr int kVersion = 1;

// FNV-1a.
std::uint64_t hash_bytes(std::uint64_t hash, const std::string& bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  }
  return hash;
}

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
void append_all(std::string& bytes, const std::vector<T>& values) {
  bytes.append(reinterpret_cast<const char*>(values.data()),
               values.size() * sizeof(T));
}

// Reads one after the other.
class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}

  std::size_t place = 0;

  std::size_t left() const { return bytes_.size() - place; }
  template <typename T>
  T next() {
    T value{};
    std::memcpy(&value, bytes_.data() + place, sizeof(value));
    place += sizeof(value);
    return value;
  }
  template <typename T>
  std::vector<T> next(std::size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + place, count * sizeof(T));
    place += count * sizeof(T);
    return values;
  }

 private:
  const std::string& bytes_;
};

std::string header_of(const std::vector<std::string>& parameters) {
  const nlohmann::ordered_json header{{"ringlet_hashes", kVersion},
                                      {"parameters", parameters}};
  return header.dump() + "\n";
}

std::string record_of(const StepHashes& step, std::uint64_t before,
                      std::uint64_t& chain) {
  std::string body;
  append(body, static_cast<std::uint32_t>(step.shards.size()));
  append(body, step.step);
  append(body, step.data);
  append(body, step.loss);
  append(body, step.gradient_norm);
  append_all(body, step.shards);
  append_all(body, step.gradients);
  append_all(body, step.weights);
  chain = hash_bytes(before, body);
  append(body, chain);
  std::string record;
  append(record,
         static_cast<std::uint32_t>(sizeof(std::uint32_t) + body.size()));
  return record + body;
}

struct ReadLog {
  HashChain chain;
  std::vector<std::size_t> ends;  // of the records, in bytes of the file
  std::size_t header_bytes = 0;
};

// `whole`: a broken record is an error, and not where the log ends.
ReadLog read_log(const std::filesystem::path& path, bool whole) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(fmt::format("{}: cannot be read", path.string()));
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  const auto broken = [&](const std::string& why) {
    return Error(fmt::format("{}: {}, expected hashes of a run's steps",
                             path.string(), why));
  };
  ReadLog log;
  const std::size_t line = bytes.find('\n');
  if (line == std::string::npos) throw broken("it has no header");
  log.header_bytes = line + 1;
  try {
    const auto header = nlohmann::json::parse(bytes.substr(0, line));
    if (header.at("ringlet_hashes") != kVersion) {
      throw broken("another version");
    }
    header.at("parameters").get_to(log.chain.parameters);
  } catch (const nlohmann::json::exception& error) {
    throw broken(error.what());
  }
  const std::size_t parameters = log.chain.parameters.size();
  Reader reader(bytes);
  reader.place = log.header_bytes;
  std::uint64_t before = 0;
  while (reader.left() >= 2 * sizeof(std::uint32_t)) {
    const std::size_t begin = reader.place;
    const auto size = reader.next<std::uint32_t>();
    if (bytes.size() - begin < size) break;  // half-written
    const auto shards = reader.next<std::uint32_t>();
    const std::uint64_t expected =
        2 * sizeof(std::uint32_t) + 5 * sizeof(std::uint64_t) +
        std::uint64_t{shards} * sizeof(StepHashes::Shard) +
        parameters * 2 * sizeof(std::uint32_t);
    if (size != expected) {
      if (!whole) break;
      throw broken(fmt::format("a record of {} bytes at byte {}", size, begin));
    }
    StepHashes step;
    step.step = reader.next<std::uint64_t>();
    step.data = reader.next<std::uint64_t>();
    step.loss = reader.next<double>();
    step.gradient_norm = reader.next<double>();
    step.shards = reader.next<StepHashes::Shard>(shards);
    step.gradients = reader.next<std::uint32_t>(parameters);
    step.weights = reader.next<std::uint32_t>(parameters);
    const auto chain = reader.next<std::uint64_t>();
    std::uint64_t computed = 0;
    record_of(step, before, computed);
    if (chain != computed) {
      if (!whole) break;
      throw broken(fmt::format("the chain breaks at step {}", step.step));
    }
    before = chain;
    log.chain.steps.push_back({std::move(step), chain});
    log.ends.push_back(reader.place);
  }
  return log;
}

}  // namespace

HashChain read_hashes(const std::filesystem::path& path) {
  return read_log(path, true).chain;
}

HashLog::HashLog(const std::filesystem::path& path,
                 const std::vector<std::string>& parameters,
                 std::size_t steps_done)
    : path_(path), file_(nullptr, std::fclose) {
  const bool is_new =
      !std::filesystem::exists(path) || std::filesystem::file_size(path) == 0;
  if (!is_new) {
    const ReadLog log = read_log(path, false);
    if (log.chain.parameters != parameters) {
      throw Error(fmt::format(
          "{}: of another model's {} parameters, expected "
          "this one's {}",
          path.string(), log.chain.parameters.size(), parameters.size()));
    }
    std::size_t end = log.header_bytes;
    for (std::size_t i = 0; i < log.ends.size(); ++i) {
      if (log.chain.steps[i].hashes.step > steps_done) break;
      end = log.ends[i];
      chain_ = log.chain.steps[i].chain;
    }
    std::filesystem::resize_file(path, end);
  }
  file_.reset(std::fopen(path.c_str(), "ab"));
  if (!file_) {
    throw Error(fmt::format("{}: {}", path.string(), std::strerror(errno)));
  }
  const std::string header = is_new ? header_of(parameters) : "";
  std::fwrite(header.data(), 1, header.size(), file_.get());
  std::fflush(file_.get());
}

void HashLog::write(const StepHashes& step) {
  const std::string record = record_of(step, chain_, chain_);
  if (std::fwrite(record.data(), 1, record.size(), file_.get()) !=
          record.size() ||
      std::fflush(file_.get()) != 0) {
    throw Error(fmt::format("{}: {}", path_.string(), std::strerror(errno)));
  }
}

}  // namespace ringlet
