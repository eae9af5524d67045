#include "netns/bench/sockets.h"

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <random>
#include <vector>

#include "netns/bench/statistics.h"

namespace weir::netns::bench {

namespace {

using Clock = std::chrono::steady_clock;

/// Times `make`, which gives a Result<Fd>, `count` times.
template <class Make>
Result<void> time_each(int count, std::vector<double>& into, Make&& make) {
  for (int i = 0; i < count; ++i) {
    const auto start = Clock::now();
    auto made = make();
    into.push_back(std::chrono::duration<double, std::nano>(Clock::now() - start).count());
    if (!made) return pass(std::move(made));
  }
  return {};
}

Result<Fd> plain_socket() {
  Fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!made.valid()) return fail_errno(errno, "socket");
  return made;
}

}  // namespace

Result<SocketCost> measure_sockets(std::span<const Netns> places, const SocketPlan& plan, const Stop& stop) {
  if (places.size() < 2) return fail(Errc::usage, "sockets elsewhere need two namespaces to go between");
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  std::mt19937_64 random(plan.seed);
  std::size_t at = 0;
  // Never the same one twice running: a sticky visit would be none.
  std::uniform_int_distribution<std::size_t> stride(1, places.size() - 1);
  const auto elsewhere = [&](Mode mode) {
    at = (at + stride(random)) % places.size();
    return open_socket(places[at], AF_INET, SOCK_STREAM, 0, mode);
  };
  std::array<std::vector<double>, 3> times;
  for (int round = 0; round == 0 || (round < plan.rounds && !stop()); ++round) {
    // Home first: the sticky ones of the last round have left the thread elsewhere.
    auto back = run_in(
        *home, []() -> Result<void> { return {}; }, Mode::sticky);
    if (!back) return pass(std::move(back));
    if (auto done = time_each(plan.sockets, times[0], plain_socket); !done) return pass(std::move(done));
    auto strict = time_each(plan.sockets, times[1], [&] { return elsewhere(Mode::strict); });
    if (!strict) return pass(std::move(strict));
    auto sticky = time_each(plan.sockets, times[2], [&] { return elsewhere(Mode::sticky); });
    if (!sticky) return pass(std::move(sticky));
  }
  return SocketCost{median(times[0]), median(times[1]), median(times[2])};
}

}  // namespace weir::netns::bench
