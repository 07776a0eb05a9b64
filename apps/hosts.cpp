#include "apps/hosts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>

#include "apps/child.h"
#include "apps/mpirun.h"
#include "engine/io/run_directory.h"
#include "kernels/runtime/error.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

constexpr std::chrono::seconds kToAnswer{10};
constexpr int kMostSlots = 65536;  // above what a machine has
constexpr std::string_view kSlots = "slots=";

Host parse_host(const std::string& line, const std::string& place) {
  std::istringstream words(line);
  Host host;
  std::string word;
  words >> host.name;
  while (words >> word) {
    if (!word.starts_with(kSlots)) continue;  // max_slots=N
    host.slots = parse_number<int>(word.substr(kSlots.size())).value_or(0);
  }
  if (host.slots < 1 || host.slots > kMostSlots) {
    throw Error(fmt::format("{}: '{}': expected NAME slots=N, N from 1 to {}",
                            place, line, kMostSlots));
  }
  return host;
}

std::string short_name(const std::string& host) {
  return host.substr(0, host.find('.'));
}

bool is_this_machine(const std::string& host) {
  return host == "localhost" ||
         short_name(host) == short_name(host_info().hostname);
}

StartedChild ask(const std::string& host, const std::string& agent) {
  std::vector<std::string> words;
  std::istringstream parts(agent);
  for (std::string word; parts >> word;) words.push_back(word);
  words.push_back(host);
  words.emplace_back("true");
  return start_child([&] {
    // A connection that ssh keeps for others would keep the pipe open.
    const int nothing = ::open("/dev/null", O_WRONLY);
    ::dup2(nothing, STDOUT_FILENO);
    ::dup2(nothing, STDERR_FILENO);
    become(words);
  });
}

// This machine under another name or by an address needs no agent either, and
// alone lets a socket be bound to that address.
bool has_address_here(const std::string& host) {
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, nullptr, &found) != 0) return false;
  bool here = false;
  for (const addrinfo* i = found; i != nullptr && !here; i = i->ai_next) {
    const int tried = ::socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    here = ::bind(tried, i->ai_addr, i->ai_addrlen) == 0;
    ::close(tried);
  }
  freeaddrinfo(found);
  return here;
}

}  // namespace

std::vector<Host> read_hostfile(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw Error(fmt::format("--hostfile {}: cannot open: {}", path,
                            std::strerror(errno)));
  }
  std::vector<Host> hosts;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    line.resize(std::min(line.find('#'), line.size()));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string place = fmt::format("--hostfile {}:{}", path, number);
    const Host host = parse_host(line, place);
    if (std::any_of(hosts.begin(), hosts.end(), [&](const Host& other) {
          return other.name == host.name;
        })) {
      throw Error(
          fmt::format("{}: '{}': expected each host once", place, host.name));
    }
    hosts.push_back(host);
  }
  if (hosts.empty()) {
    throw Error(
        fmt::format("--hostfile {}: no host, expected NAME slots=N in "
                    "each line",
                    path));
  }
  return hosts;
}

std::vector<Host> answering(const std::vector<Host>& hosts,
                            const std::string& agent) {
  const auto deadline = std::chrono::steady_clock::now() + kToAnswer;
  std::vector<std::optional<StartedChild>> asked;  // those who have to be
  for (const Host& host : hosts) {
    asked.emplace_back();
    if (!is_this_machine(host.name)) asked.back() = ask(host.name, agent);
  }
  std::vector<Host> there;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (!asked[i] || finish_child(*asked[i], deadline).succeeded() ||
        has_address_here(hosts[i].name)) {
      there.push_back(hosts[i]);
    }
  }
  return there;
}

}  // namespace ringlet
