#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "apps/commands.h"
#include "collectives/guard/crash_card.h"
#include "kernels/runtime/error.h"

// `ringlet crash RUN`: where nobody was left to write the crash card of a run,
// it is made from the last calls that its ranks have left.

namespace ringlet {
namespace {

constexpr const char* kUsage =
    "Usage: ringlet crash RUN\n"
    "\n"
    "Prints where the ranks of a run were when it died, from what each of "
    "them\n"
    "kept in RUN/calls until then: their last calls of collectives, side by\n"
    "side. A run that goes on may be asked too. RUN/crash.txt is the same "
    "page\n"
    "with the verdict of a rank that has seen it happen.\n";

}  // namespace

int crash_command(int argc, char** argv) {
  const std::string run = argc == 2 ? argv[1] : "";
  if (run == "--help" || run == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (run.empty()) {
    throw Error(
        "crash: expected the folder of a run, as in ringlet crash "
        "runs/NAME; see ringlet crash --help");
  }
  const auto ranks = read_call_logs(run);
  fmt::print("{}", crash_card(verdict_after_death(ranks),
                              "read the launcher's last lines", ranks));
  return 0;
}

}  // namespace ringlet
