#include "apps/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/parallel/agreement.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

constexpr const char* kSuffix = ".recipe";

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t\r";
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// Of PREFIX/bin/ringlet that is PREFIX/share/ringlet/recipes.
std::filesystem::path recipes_folder() {
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  return program.parent_path().parent_path() / "share/ringlet/recipes";
}

std::filesystem::path file_of(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  return recipes_folder() / (name + kSuffix);
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  std::error_code none;  // where there is no such folder there are no names
  for (const auto& entry :
       std::filesystem::directory_iterator(recipes_folder(), none)) {
    if (entry.path().extension() == kSuffix) {
      names.push_back(entry.path().stem().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Recipe read_recipe(const std::string& name) {
  Recipe recipe;
  const std::filesystem::path path = file_of(name);
  recipe.file = path.string();
  std::ifstream file(path);
  if (!file) {
    std::string known;
    for (const std::string& other : recipe_names()) known += other + ", ";
    if (!known.empty()) known += "or ";
    throw SharedError(fmt::format(
        "--recipe {}: {} cannot be read, expected {}the path of a file", name,
        recipe.file, known));
  }
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    const std::string line = trimmed(text);
    if (line.empty()) continue;
    if (line[0] == '#') {
      if (!recipe.arguments.empty()) continue;
      recipe.comment += trimmed(line.substr(1));
      recipe.comment += '\n';
      continue;
    }
    const std::size_t equals = line.find('=');
    const std::string option = trimmed(line.substr(0, equals));
    const std::string value =
        equals == std::string::npos ? "" : trimmed(line.substr(equals + 1));
    const auto bad = [&](const std::string& expected) {
      return SharedError(fmt::format("{}:{}: '{}', expected {}", recipe.file,
                                     number, line, expected));
    };
    if (option.empty() || option[0] == '-' ||
        option.find(' ') != std::string::npos ||
        (equals != std::string::npos && value.empty())) {
      throw bad("an option without its dashes, as \"lr = 0.1\"");
    }
    if (option == "ranks") {
      recipe.ranks = parse_number<int>(value).value_or(0);
      if (recipe.ranks < 1) throw bad("a number of ranks, 1 or more");
      continue;
    }
    // One word, or a flag would not take its "false".
    recipe.arguments.push_back(
        fmt::format("--{}{}{}", option, value.empty() ? "" : "=", value));
  }
  return recipe;
}

}  // namespace ringlet
