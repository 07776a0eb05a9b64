#include "apps/cli.h"

#include <fmt/format.h>

#include <cmath>
#include <sstream>

#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

// Checks that say what was expected; CLI11's own print the limits of double,
// and its conversions let "-1" and "nan" through.
template <typename Number>
CLI::Validator expect(const std::string& expected,
                      const std::function<bool(Number)>& accepts) {
  return CLI::Validator(
      [=](const std::string& text) {
        const auto value = parse_number<Number>(text);
        if (value && accepts(*value)) return std::string();
        return fmt::format("'{}', expected {}", text, expected);
      },
      "");
}

// Help of 80 columns: "--option VALUE [default]", and what it does below.
class Help final : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    // "TEXT:{a,b}" names the values that are allowed, "UINT:POSITIVE" a check.
    std::string type = option->get_type_name();
    const std::size_t choices = type.find('{');
    type = choices == std::string::npos ? type.substr(0, type.find(':'))
                                        : type.substr(choices);
    const std::string fallback = option->get_default_str();
    return " " + type + (fallback.empty() ? "" : " [" + fallback + "]");
  }

  std::string make_option(const CLI::Option* option,
                          bool is_positional) const override {
    std::string text = "  " + make_option_name(option, is_positional) +
                       make_option_opts(option) + "\n";
    std::istringstream words(make_option_desc(option));
    std::string line, word;
    while (words >> word) {
      if (line.size() + word.size() + 1 > kTextWidth) {
        text += kIndent + line + "\n";
        line.clear();
      }
      line += (line.empty() ? "" : " ") + word;
    }
    return text + kIndent + line + "\n";
  }

 private:
  static constexpr const char* kIndent = "      ";
  static constexpr std::size_t kTextWidth = 80 - 6;
};

}  // namespace

CLI::Validator whole_number(std::uint64_t least, std::uint64_t most) {
  return expect<std::uint64_t>(
      fmt::format("a whole number from {} to {}", least, most),
      [=](std::uint64_t value) { return value >= least && value <= most; });
}

const CLI::Validator kPositive = expect<double>(
    "a number above 0",
    [](double value) { return value > 0 && std::isfinite(value); });
const CLI::Validator kNotNegative = expect<double>(
    "a number, 0 or more",
    [](double value) { return value >= 0 && std::isfinite(value); });
const CLI::Validator kMib = expect<double>(
    fmt::format("a number from 0 to {}", kLargestCount),
    [](double value) { return value >= 0 && value <= kLargestCount; });
const CLI::Validator kShare =
    expect<double>("a number from 0 to 1",
                   [](double value) { return value >= 0 && value <= 1; });
const CLI::Validator kDecay = expect<double>(
    "a number from 0 to below 1",
    [](double value) { return value >= 0 && static_cast<float>(value) < 1; });
const CLI::Validator kBeta = expect<double>(
    "0, or a number from 0.05 to 1",
    [](double value) { return value == 0 || (value >= 0.05 && value <= 1); });

bool parse_or_help(CLI::App& app, int argc, char** argv) {
  app.formatter(std::make_shared<Help>());
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::CallForHelp&) {
    if (launch_info().rank == 0) fmt::print("{}", app.help());
    return false;
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
      what = fmt::format("unknown option '{}'", app.remaining().front());
    }
    throw SharedError(fmt::format("{}; see {} --help", what, app.get_name()));
  }
}

}  // namespace ringlet
