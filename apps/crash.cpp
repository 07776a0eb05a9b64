#include <fmt/format.h>

#include <string>

#include "apps/cli.h"
#include "apps/commands.h"
#include "collectives/guard/crash_card.h"

// `ringlet crash RUN`: where nobody was left to write the crash card of a run,
// it is made from the last calls that its ranks have left.

namespace ringlet {

int crash_command(int argc, char** argv) {
  std::string run;
  CLI::App app(
      "Prints where the ranks of a run were when it died, from what each of "
      "them kept\nin RUN/calls until then: their last calls of collectives, "
      "side by side. A run\nthat goes on may be asked too. RUN/crash.txt is "
      "the same page with the verdict\nof a rank that has seen it happen.",
      "ringlet crash");
  app.add_option("RUN", run, "The folder of a run")->required();
  if (!parse_or_help(app, argc, argv)) return 0;
  const auto ranks = read_call_logs(run);
  fmt::print("{}", crash_card(verdict_after_death(ranks),
                              "read the launcher's last lines", ranks));
  return 0;
}

}  // namespace ringlet
