#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

// What the subcommands' options have in common.
namespace ringlet {

// Above what anybody needs, and low enough that nothing overflows.
inline constexpr std::uint64_t kLargestCount = 1'000'000'000;

// Checks that say what was expected.
CLI::Validator whole_number(std::uint64_t least,
                            std::uint64_t most = kLargestCount);
extern const CLI::Validator kPositive, kNotNegative, kMib, kShare;
// Of an average's decay; of mixup, where with less than 0.05 hardly any share
// differs from 0 or 1.
extern const CLI::Validator kDecay, kBeta;

// Reads the arguments (the subcommand's name first). False after --help, which
// rank 0 prints; throws a SharedError that names the option, its value and what
// was expected.
bool parse_or_help(CLI::App& app, int argc, char** argv);

}  // namespace ringlet
