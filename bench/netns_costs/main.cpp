// What a visit, a socket elsewhere and a new namespace cost (docs/netns.md). Rounds alternate; minimum and median.
#include <fmt/format.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

using weir::Fd;
using weir::Result;
using weir::netns::Mode;
using weir::netns::Netns;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 9;

template <class T>
T value(Result<T>&& result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "netns_costs: {}\n", result.error().message);
  std::exit(1);
}

double nanoseconds_each(int count, const std::function<void(int)>& all) {
  const auto start = Clock::now();
  all(count);
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / count;
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
void alternate(const std::vector<Measured>& measured, int rounds = kRounds) {
  std::vector<std::vector<double>> results(measured.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < measured.size(); ++i) results[i].push_back(measured[i].round());
  }
  for (std::size_t i = 0; i < measured.size(); ++i) print(measured[i].what, summary(results[i]));
}

void keep(const void* pointer) {
  asm volatile("" : : "r"(pointer) : "memory");
}

std::vector<Netns> make_many(std::size_t count) {
  std::vector<Netns> made;
  made.reserve(count);
  while (made.size() < count) made.push_back(value(Netns::create()));
  return made;
}

void visits() {
  const Netns home = value(Netns::home());
  value(weir::netns::run_in(home, []() -> Result<int> { return 0; }));
  const std::vector<Netns> places = make_many(1024);
  std::vector<Measured> measured;
  measured.reserve(16);
  measured.push_back({"an empty loop", [&] {
                        return nanoseconds_each(10'000'000, [&](int n) {
                          for (int i = 0; i < n; ++i) keep(&home);
                        });
                      }});
  measured.push_back({"the decision: is the thread there?", [&] {
                        return nanoseconds_each(10'000'000, [&](int n) {
                          for (int i = 0; i < n; ++i) {
                            if (weir::netns::detail::thread_state.here != home.id()) std::exit(1);
                            keep(&home);
                          }
                        });
                      }});
  measured.push_back({"a whole scope where the thread is already", [&] {
                        return nanoseconds_each(10'000'000, [&](int n) {
                          for (int i = 0; i < n; ++i) {
                            const auto scope = weir::netns::Scope::enter(home);
                            keep(&scope);
                          }
                        });
                      }});
  measured.push_back({"getppid, as the measure of a system call", [] {
                        return nanoseconds_each(100'000, [](int n) {
                          for (int i = 0; i < n; ++i) ::syscall(SYS_getppid);
                        });
                      }});
  measured.push_back({"setns alone, 1024 namespaces", [&] {
                        return nanoseconds_each(100'000, [&](int n) {
                          for (int i = 0; i < n; ++i)
                            ::setns(places[static_cast<std::size_t>(i * 7) % 1024].fd(), CLONE_NEWNET);
                          ::setns(home.fd(), CLONE_NEWNET);
                        });
                      }});
  for (const std::size_t among : {std::size_t{2}, std::size_t{16}, std::size_t{128}, std::size_t{1024}}) {
    measured.push_back({fmt::format("a sticky visit elsewhere, among {}", among), [&places, among] {
                          return nanoseconds_each(100'000, [&](int n) {
                            for (int i = 0; i < n; ++i) {
                              const Netns& there = places[static_cast<std::size_t>(i * 7) % among];
                              value(weir::netns::run_in(
                                  there, []() -> Result<int> { return 0; }, Mode::sticky));
                            }
                          });
                        }});
  }
  measured.push_back({"back home, for the next round", [&] {
                        value(weir::netns::run_in(places[0], []() -> Result<int> { return 0; }));
                        return 0.0;
                      }});
  alternate(measured);
}

/// p50 of single operations, in ns.
double median_of(int count, const std::function<void(int)>& one) {
  std::vector<double> times;
  for (int i = 0; i < count; ++i) {
    const auto start = Clock::now();
    one(i);
    times.push_back(std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  }
  std::ranges::nth_element(times, times.begin() + count / 2);
  return times[static_cast<std::size_t>(count) / 2];
}

void sockets() {
  const std::vector<Netns> places = make_many(512);
  const auto elsewhere = [&places](int i, Mode mode) {
    const Fd made =
        value(weir::netns::open_socket(places[static_cast<std::size_t>(i * 7) % 512], AF_INET, SOCK_STREAM, 0, mode));
  };
  alternate(
      {{"socket() and close(), p50",
        [] { return median_of(20'000, [](int) { Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)).reset(); }); }},
       {"open_socket() elsewhere, home again, close(), p50",
        [&] { return median_of(20'000, [&](int i) { elsewhere(i, Mode::strict); }); }},
       {"open_socket() elsewhere, sticky, close(), p50", [&] {
          const double result = median_of(20'000, [&](int i) { elsewhere(i, Mode::sticky); });
          value(weir::netns::run_in(places[0], []() -> Result<int> { return 0; }));
          value(weir::netns::run_in(places[1], []() -> Result<int> { return 0; }));
          return result;
        }}});
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
    const double each = nanoseconds_each(1, [&](int) { make_all(); }) / kNames;
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
             {"ip netns add, each of 512",
              [&] {
                return measure([&] {
                  for (const std::string& name : names) run_ip("add", name);
                });
              }}},
            3);
}

}  // namespace

int main() {
  if (::geteuid() != 0) {
    fmt::print(stderr, "netns_costs: run as root\n");
    return 3;
  }
  fmt::print("{:<58} {:>10} {:>10}\n", "ns", "minimum", "median");
  creation();
  visits();
  sockets();
  return 0;
}
