#include "engine/metrics/progress.h"

#include <cstdlib>
#include <sstream>

#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

StepReport step(std::size_t number, double loss = 1) {
  return {.step = number, .epoch = 1, .loss = loss, .images = 50, .seconds = 2};
}

// What stands on the terminal's last line after `text`.
std::string last_line(const std::string& text) {
  const std::string clear = "\r\x1b[K";
  const std::size_t start = text.rfind(clear);
  REQUIRE(start != std::string::npos);
  return text.substr(start + clear.size());
}

class TerminalVariable {
 public:
  explicit TerminalVariable(const char* value) {
    setenv("RINGLET_TERMINAL", value, 1);
  }
  ~TerminalVariable() { unsetenv("RINGLET_TERMINAL"); }
};

}  // namespace

TEST_CASE("Plain lines come every log_every steps and after the last") {
  std::ostringstream out;
  Progress progress(5, 2, 0, out);
  progress.update(step(1, 3.0));
  CHECK(out.str().empty());
  progress.update(step(2, 2.0));
  CHECK(out.str() ==
        "epoch 1  step 2/5  loss 2.5000  25.0 images/s  6s left\n");
  progress.update(step(3, 1.0));
  progress.update(step(4, 0.5));
  progress.update(step(5, 0.25));
  CHECK(out.str().ends_with(
      "\nepoch 1  step 4/5  loss 0.7500  25.0 images/s  2s left\n"
      "epoch 1  step 5/5  loss 0.3750  25.0 images/s  0s left\n"));
}

TEST_CASE("A terminal sees one line that is drawn again") {
  std::ostringstream out;
  {
    Progress progress(4, 1, 80, out);
    progress.update(step(1));
    progress.update(step(3));
    CHECK(last_line(out.str()) ==
          "epoch 1  step 3/4 [=================>     ] loss 1.0000  "
          "25.0 images/s  2s left");
    CHECK(last_line(out.str()).size() == 79);
    CHECK(out.str().find('\n') == std::string::npos);
    progress.update(step(4));
    CHECK(out.str().find(">]") == std::string::npos);
  }
  CHECK(out.str().ends_with("0s left\n"));
}

TEST_CASE("A narrow terminal loses the bar first, and no line wraps") {
  for (const int columns : {1, 2, 10, 40, 60, 70, 75, 200}) {
    std::ostringstream out;
    Progress progress(4, 1, columns, out);
    progress.update(step(1));
    const std::string line = last_line(out.str());
    INFO(columns << ": " << line);
    CHECK(line.size() <= static_cast<std::size_t>(columns - 1));
    CHECK((line.find('[') != std::string::npos) == (columns > 65));
  }
}

TEST_CASE("A message stands above the bar, alone on its line") {
  std::ostringstream out;
  {
    Progress progress(4, 1, 80, out);
    progress.message("before the first step");
    CHECK(out.str() == "before the first step\n");
    progress.update(step(1));
    progress.message("validation accuracy 61.2 %");
  }
  const std::string text = out.str();
  CHECK(text.find("\r\x1b[Kvalidation accuracy 61.2 %\n\r\x1b[Kepoch 1") !=
        std::string::npos);
  std::ostringstream plain;
  Progress(4, 1, 0, plain).message("as it is");
  CHECK(plain.str() == "as it is\n");
}

TEST_CASE("RINGLET_TERMINAL gives the terminal's width") {
  CHECK((TerminalVariable("123"), terminal_columns()) == 123);
  CHECK((TerminalVariable("0"), terminal_columns()) == 0);
  for (const char* wrong : {"", "wide", "80x24", "-1", "99999999999"}) {
    const TerminalVariable variable(wrong);
    CHECK_THROWS_WITH(terminal_columns(),
                      StartsWith("RINGLET_TERMINAL is '" + std::string(wrong) +
                                 "', expected"));
  }
}

TEST_CASE("Durations are short") {
  CHECK(format_duration(0.4) == "0s");
  CHECK(format_duration(59.4) == "59s");
  CHECK(format_duration(59.6) == "1m00s");
  CHECK(format_duration(182) == "3m02s");
  CHECK(format_duration(3900) == "1h05m");
}

TEST_CASE("A status takes the bar's place, and no line of its own") {
  std::ostringstream terminal, plain;
  Progress bar(4, 1, 20, terminal);
  bar.update(step(1));
  bar.status("evaluating: picture 100 of 1000");
  CHECK(last_line(terminal.str()) == "evaluating: picture");
  CHECK(terminal.str().find('\n') == std::string::npos);
  Progress(4, 1, 0, plain).status("evaluating");
  CHECK(plain.str().empty());
}
