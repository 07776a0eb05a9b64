#pragma once

#include <string>
#include <vector>

namespace ringlet {

// A named set of options of `ringlet train`: the file recipes/NAME.recipe, with
// a comment of what it is for, and one option to a line, "lr = 0.1" or
// "nesterov".
struct Recipe {
  std::string file;
  std::string comment;                 // of its first lines, without '#'
  std::vector<std::string> arguments;  // "--lr=0.1", "--nesterov", ...
  int ranks = 0;                       // that it is meant for; 0: any number
};

// Those that there are, in the order of the alphabet.
std::vector<std::string> recipe_names();

// `name`: one of those, or a file's path with a '/'. Throws an Error that names
// the file and the line where it cannot be read.
Recipe read_recipe(const std::string& name);

}  // namespace ringlet
