#include "kernels/cuda/conv_choices.h"

#include <atomic>
#include <map>
#include <mutex>
#include <sstream>

#include "kernels/runtime/error.h"

namespace ringlet::cuda {
namespace {

constexpr const char* kSeparator = ": ";

struct Choices {
  std::mutex mutex;
  std::map<std::string, std::string> plans;  // by text_of the key
  std::atomic<unsigned> set = 0;
  std::atomic<bool> tuning = false, legacy = false;
};

Choices& choices() {
  static Choices all;
  return all;
}

constexpr const char* name_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::kForward:
      return "forward";
    case ConvPass::kBackwardData:
      return "backward_data";
    case ConvPass::kBackwardWeights:
      break;
  }
  return "backward_weights";
}

}  // namespace

std::string text_of(const ConvKey& key) {
  const ConvShape& s = key.args.shape;
  std::ostringstream text;
  text << name_of(key.pass) << " of [" << s.n << ", " << s.c << ", " << s.h
       << ", " << s.w << "] "
       << (key.tf32 ? "tf32" : ringlet::name_of(key.args.dtype)) << " with "
       << s.k << " filters " << s.kernel_h << "x" << s.kernel_w << ", stride "
       << s.stride << ", padding " << s.padding;
  if (key.weight_dtype != key.args.dtype) {
    text << ", to " << ringlet::name_of(key.weight_dtype);
  }
  return text.str();
}

void set_conv_tuning(bool on) { choices().tuning = on; }
bool conv_tuning() { return choices().tuning; }

void set_legacy_convolutions(bool on) { choices().legacy = on; }
bool legacy_convolutions() { return choices().legacy; }

std::optional<std::string> conv_choice(const ConvKey& key) {
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  const auto found = all.plans.find(text_of(key));
  if (found == all.plans.end()) return std::nullopt;
  return found->second;
}

void add_conv_choice(const ConvKey& key, const std::string& plan) {
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  all.plans[text_of(key)] = plan;
}

std::string conv_choices(const std::string& versions) {
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  if (all.plans.empty()) return "";
  std::string text = versions + "\n";
  for (const auto& [key, plan] : all.plans) {
    text += key + kSeparator + plan + "\n";
  }
  return text;
}

void set_conv_choices(const std::string& text, const std::string& versions) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != versions) return;
  std::map<std::string, std::string> plans;
  while (std::getline(lines, line)) {
    const std::size_t end = line.rfind(kSeparator);
    if (end == line.npos) {
      throw Error("choices of convolutions: '" + line +
                  "', expected a convolution, a colon and its plan");
    }
    plans[line.substr(0, end)] =
        line.substr(end + std::string(kSeparator).size());
  }
  Choices& all = choices();
  const std::lock_guard lock(all.mutex);
  all.plans = std::move(plans);
  ++all.set;
}

unsigned conv_choices_set() { return choices().set; }

}  // namespace ringlet::cuda
