// What a new namespace with a name costs, beside ip-netns(8) (docs/netns.md). Rounds alternate; minimum and median.
// What else namespaces cost is measured by `weir netns bench`.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "netns/netns.h"
#include "sys/poll_until.h"

namespace {

using weir::Result;
using weir::netns::Netns;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 3;

template <class T>
T value(Result<T>&& result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "netns_create: {}\n", result.error().message);
  std::exit(1);
}

double nanoseconds(const std::function<void()>& all) {
  const auto start = Clock::now();
  all();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

struct Summary {
  double minimum, median;
};

Summary summary(std::vector<double> rounds) {
  std::ranges::sort(rounds);
  return {rounds.front(), rounds[rounds.size() / 2]};
}

void print(const std::string& what, const Summary& ns) {
  fmt::print("{:<58} {:>10.2f} {:>10.2f}\n", what, ns.minimum, ns.median);
}

struct Measured {
  std::string what;
  std::function<double()> round;  ///< ns of one operation
};

/// Everything that stands in a round, one after the other, so that what else the machine does meets all of them.
void alternate(const std::vector<Measured>& measured) {
  std::vector<std::vector<double>> results(measured.size());
  for (int round = 0; round < kRounds; ++round) {
    for (std::size_t i = 0; i < measured.size(); ++i) results[i].push_back(measured[i].round());
  }
  for (std::size_t i = 0; i < measured.size(); ++i) print(measured[i].what, summary(results[i]));
}

void run_ip(const std::string& verb, const std::string& name) {
  std::array<std::string, 4> words{"ip", "netns", verb, name};
  std::array<char*, 5> argv{words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
  pid_t child = -1;
  if (::posix_spawnp(&child, "ip", nullptr, nullptr, argv.data(), environ) != 0) std::exit(1);
  ::waitpid(child, nullptr, 0);
}

/// How many namespaces the kernel has not taken apart yet.
std::uint64_t living() {
  std::ifstream file("/proc/slabinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("net_namespace ")) return std::stoull(line.substr(std::strlen("net_namespace ")));
  }
  return 0;
}

/// The kernel takes namespaces apart in the background and makes none meanwhile.
void settle(std::uint64_t before) {
  const auto deadline = Clock::now() + std::chrono::seconds(30);
  static_cast<void>(weir::sys::poll_until(deadline, [&] { return living() <= before + before / 8 + 32; }));
}

void creation() {
  constexpr std::size_t kNames = 512;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kNames; ++i) names.push_back(fmt::format("weir-cost{}-{}", ::getpid(), i));
  const std::uint64_t before = living();
  const auto measure = [&](const std::function<void()>& make_all) {
    const double each = nanoseconds(make_all) / kNames;
    for (const std::string& name : names) {
      if (!Netns::remove_named(name)) std::exit(1);
    }
    settle(before);
    return each;
  };
  alternate({{"create_many(), each of 512", [&] { return measure([&] { value(Netns::create_many(names)); }); }},
             {"create_named(), each of 512",
              [&] {
                return measure([&] {
                  for (const std::string& name : names) value(Netns::create_named(name));
                });
              }},
             {"ip netns add, each of 512", [&] {
                return measure([&] {
                  for (const std::string& name : names) run_ip("add", name);
                });
              }}});
}

}  // namespace

int main() {
  if (::geteuid() != 0) {
    fmt::print(stderr, "netns_create: run as root\n");
    return 3;
  }
  fmt::print("{:<58} {:>10} {:>10}\n", "ns", "minimum", "median");
  creation();
  return 0;
}
