#include "engine/io/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>

#include "engine/io/durable_files.h"
#include "engine/io/sha256.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

using nlohmann::ordered_json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "ringlet checkpoint 1";
constexpr std::string_view kStepPrefix = "step-";
constexpr const char* kUnfinished = ".tmp";
// The first line, which makes the rest of the file verifiable and the whole of
// it valid JSON.
constexpr std::string_view kHead = "{\"sha256_of_the_rest\": \"";
constexpr std::string_view kHeadEnd = "\",\n";
constexpr std::size_t kDigits = 64;       // of a SHA-256
constexpr std::size_t kShortDigits = 16;  // enough to tell tensors apart
constexpr std::size_t kLargestManifest = 16 << 20;  // bytes; ours have 50 kB
constexpr std::size_t kReadBytes = 1 << 20;

template <typename... Args>
[[noreturn]] void fail(const std::filesystem::path& path,
                       fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format("{}: {}", path.string(),
                          fmt::format(text, std::forward<Args>(args)...)));
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

ordered_json describe(const SafetensorsImage& image) {
  const FilePieces pieces = image.pieces();
  Sha256 sum;
  std::size_t bytes = 0;
  for (const auto& piece : pieces) {
    sum.update(piece);
    bytes += piece.size();
  }
  ordered_json tensors = ordered_json::object();
  for (std::size_t i = 0; i < image.tensors().size(); ++i) {
    tensors[image.tensors()[i].name] =
        sha256_of(pieces[i + 1]).substr(0, kShortDigits);
  }
  return {{"bytes", bytes}, {"sha256", sum.hex()}, {"tensors", tensors}};
}

std::string manifest_of(const ordered_json& files,
                        const CheckpointState& state) {
  ordered_json document{{"format", kFormat}, {"step", state.step}};
  document["score"] = state.score ? ordered_json(*state.score) : nullptr;
  document["files"] = files;
  document["state"] = state.more;
  const std::string rest =
      document.dump(1, ' ', false, ordered_json::error_handler_t::replace)
          .substr(1) +
      "\n";
  return fmt::format("{}{}{}{}", kHead, sha256_of(bytes_of(rest)), kHeadEnd,
                     rest);
}

std::string read_text(const std::filesystem::path& path) {
  std::error_code reason;
  const auto bytes = std::filesystem::file_size(path, reason);
  std::ifstream file(path, std::ios::binary);
  if (reason || !file) {
    fail(path, "cannot read: {}", reason ? reason.message() : "open failed");
  }
  if (bytes > kLargestManifest) {
    fail(path, "{} bytes, expected at most {}", bytes, kLargestManifest);
  }
  std::string text(bytes, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(bytes))) {
    fail(path, "cannot read {} bytes", bytes);
  }
  return text;
}

ordered_json read_manifest(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  constexpr std::size_t kLine = kHead.size() + kDigits + kHeadEnd.size();
  if (text.size() < kLine || !text.starts_with(kHead) ||
      text.substr(kLine - kHeadEnd.size(), kHeadEnd.size()) != kHeadEnd) {
    fail(path, "does not begin with the sum of its own bytes");
  }
  const std::string sum =
      sha256_of(bytes_of(std::string_view(text).substr(kLine)));
  if (text.substr(kHead.size(), kDigits) != sum) {
    fail(path,
         "its bytes are not those that were written: SHA-256 {}, "
         "expected {}",
         sum, text.substr(kHead.size(), kDigits));
  }
  ordered_json manifest = ordered_json::parse(text, nullptr, false);
  const bool known = manifest.is_object() && manifest.contains("format") &&
                     manifest["format"] == kFormat;
  if (!known) fail(path, "no manifest of the format '{}'", kFormat);
  return manifest;
}

CheckpointState state_of(const std::filesystem::path& path,
                         const ordered_json& manifest) {
  try {
    CheckpointState state{manifest.at("step"), {}, manifest.at("state")};
    const ordered_json& score = manifest.at("score");
    if (!score.is_null()) state.score = score.get<double>();
    return state;
  } catch (const nlohmann::json::exception& error) {
    fail(path, "not as this program writes it: {}", error.what());
  }
}

std::string sum_of_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  Sha256 sum;
  std::vector<char> buffer(kReadBytes);
  while (file.read(buffer.data(), kReadBytes) || file.gcount() > 0) {
    sum.update(std::as_bytes(
        std::span(buffer.data(), static_cast<std::size_t>(file.gcount()))));
  }
  return sum.hex();
}

// Which part of a file with the right size is not as it was written.
std::string broken_part(const std::filesystem::path& path,
                        const ordered_json& expected) {
  try {
    const SafetensorsFile file = read_safetensors(path);
    for (const auto& [name, tensor] : file.tensors) {
      const std::string sum =
          sha256_of(
              {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()})
              .substr(0, kShortDigits);
      if (!expected.contains(name) || expected[name] != sum) {
        return fmt::format("tensor '{}'", name);
      }
    }
    return "the header";
  } catch (const Error& error) {
    return fmt::format("the header ({})", error.what());
  }
}

void verify_file(const std::filesystem::path& path,
                 const ordered_json& expected) {
  std::error_code reason;
  const std::uint64_t bytes = std::filesystem::file_size(path, reason);
  if (reason) fail(path, "cannot read: {}", reason.message());
  if (bytes != expected.at("bytes")) {
    fail(path, "{} bytes, expected {}", bytes, expected.at("bytes").dump());
  }
  if (expected.at("sha256") != sum_of_file(path)) {
    fail(path, "{} is not as it was written: the SHA-256 differs",
         broken_part(path, expected.at("tensors")));
  }
}

}  // namespace

std::filesystem::path CheckpointFolder::of_step(std::size_t step) const {
  return path_ / fmt::format("{}{}", kStepPrefix, step);
}

std::filesystem::path CheckpointFolder::save(
    const std::vector<CheckpointFile>& files,
    const CheckpointState& state) const {
  const std::filesystem::path folder = of_step(state.step);
  const std::filesystem::path unfinished = folder.string() + kUnfinished;
  std::size_t bytes = 0;
  try {
    if (!std::filesystem::exists(path_)) {
      make_folder(path_);
      sync_folder(path_.parent_path());
    }
    remove_folder(unfinished);
    make_folder(unfinished);
    ordered_json described = ordered_json::object();
    for (const CheckpointFile& file : files) {
      const SafetensorsImage image(file.tensors, file.metadata);
      described[file.name] = describe(image);
      bytes += described[file.name]["bytes"].get<std::size_t>();
      write_new_file(unfinished / file.name, image.pieces());
    }
    write_new_file(unfinished / kManifest,
                   {bytes_of(manifest_of(described, state))});
    sync_folder(unfinished);
    replace_folder(unfinished, folder);
    remove_folder(unfinished);  // what had that name before
  } catch (const std::exception& error) {
    std::error_code ignored;
    std::filesystem::remove_all(unfinished, ignored);
    throw Error(fmt::format(
        "no checkpoint of step {} ({} bytes so far): {}; earlier ones are as "
        "they were",
        state.step, bytes, error.what()));
  }
  return folder;
}

std::vector<std::size_t> CheckpointFolder::steps() const {
  std::vector<std::size_t> steps;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(path_, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kStepPrefix)) continue;
    const auto step =
        parse_number<std::size_t>(name.substr(kStepPrefix.size()));
    if (step) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

void CheckpointFolder::prune(std::size_t count) const {
  remove_unfinished();
  std::vector<CheckpointState> states;
  for (const std::size_t step : steps()) {
    const std::filesystem::path manifest = of_step(step) / kManifest;
    try {
      states.push_back(state_of(manifest, read_manifest(manifest)));
    } catch (const Error&) {
      continue;  // not ours to remove
    }
  }
  const auto best = std::max_element(
      states.begin(), states.end(),
      [](const auto& a, const auto& b) { return a.score < b.score; });
  for (std::size_t i = count; i < states.size(); ++i) {
    const bool is_best = best->score && states[i].step == best->step;
    if (is_best) continue;
    // Under another name at once: half a removal is then no checkpoint.
    const std::filesystem::path folder = of_step(states[i].step);
    replace_folder(folder, folder.string() + kUnfinished);
  }
  remove_unfinished();
}

void CheckpointFolder::remove_unfinished() const {
  std::vector<std::filesystem::path> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(path_, none)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kStepPrefix) && name.ends_with(kUnfinished)) {
      found.push_back(entry.path());
    }
  }
  for (const auto& path : found) remove_folder(path);
}

Checkpoint CheckpointFolder::newest(std::vector<std::string>& rejected) const {
  for (const std::size_t step : steps()) {
    try {
      return read_checkpoint(of_step(step));
    } catch (const Error& error) {
      rejected.emplace_back(error.what());
    }
  }
  if (rejected.empty()) fail(path_, "no checkpoint there");
  throw Error(fmt::format("{}: no checkpoint is whole: {}", path_.string(),
                          fmt::join(rejected, "; ")));
}

std::vector<std::filesystem::path> CheckpointFolder::set_aside_after(
    std::size_t step) const {
  std::vector<std::filesystem::path> renamed;
  for (const std::size_t later : steps()) {
    if (later <= step) break;
    const std::filesystem::path aside = of_step(later).string() + ".old";
    remove_folder(aside);
    replace_folder(of_step(later), aside);
    renamed.push_back(aside);
  }
  return renamed;
}

Checkpoint read_checkpoint(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kManifest;
  const ordered_json manifest = read_manifest(path);
  const CheckpointState state = state_of(path, manifest);
  try {
    for (const auto& [name, expected] : manifest.at("files").items()) {
      if (name.find('/') != std::string::npos) {
        fail(path, "names a file '{}' outside its folder", name);
      }
      verify_file(folder / name, expected);
    }
  } catch (const nlohmann::json::exception& error) {
    fail(path, "not as this program writes it: {}", error.what());
  }
  return {folder, sha256_of(bytes_of(read_text(path))), state};
}

}  // namespace ringlet
