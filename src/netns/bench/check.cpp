#include "netns/bench/check.h"

#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

namespace weir::netns::bench {

namespace {

struct Kind {
  int domain = AF_INET;
  int type = SOCK_DGRAM;
};

/// Which kinds of sockets: each is made by code of its own in the kernel. No IPv6 where it is switched off.
std::vector<Kind> kinds() {
  std::vector<Kind> all{{AF_INET, SOCK_DGRAM}, {AF_INET, SOCK_STREAM}};
  if (Fd(::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)).valid()) {
    all.push_back({AF_INET6, SOCK_DGRAM});
    all.push_back({AF_INET6, SOCK_STREAM});
  }
  return all;
}

/// What the threads have in common.
struct Shared {
  Shared(std::span<const Netns> in, std::vector<Kind> of, std::uint64_t up_to)
      : places(in), kinds(std::move(of)), count(up_to) {}
  void fail_with(Error why) {
    const std::scoped_lock lock(mutex);
    if (!error) error = std::move(why);
    failed = true;
  }

  std::span<const Netns> places;
  std::vector<Kind> kinds;
  std::uint64_t count;
  std::atomic<std::uint64_t> taken{0};
  std::atomic<std::uint64_t> asked{0};
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::optional<Error> error;
};

Result<void> open_some(Shared& shared, std::uint64_t count, std::mt19937_64& random) {
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t word = random();
    const Netns& place = shared.places[(word >> 16U) % shared.places.size()];
    const Kind& kind = shared.kinds[(word & 0xffU) % shared.kinds.size()];
    const Mode mode = (word & 0x100U) != 0 ? Mode::strict : Mode::sticky;
    const auto socket = open_socket(place, kind.domain, kind.type, 0, mode);
    if (!socket) return std::unexpected(socket.error());
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (::getsockopt(socket->get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
      return fail_errno(errno, "SO_NETNS_COOKIE");
    }
    wrong += cookie != place.id() ? 1 : 0;
  }
  shared.asked += count;
  shared.wrong += wrong;
  return {};
}

void open_until_done(Shared& shared, std::uint64_t seed, const Stop& stop) {
  constexpr std::uint64_t kChunk = 1000;
  std::mt19937_64 random(seed);
  while (!shared.failed && !stop()) {
    const std::uint64_t first = shared.taken.fetch_add(kChunk);
    if (first >= shared.count) return;
    auto done = open_some(shared, std::min(kChunk, shared.count - first), random);
    if (!done) return shared.fail_with(std::move(done).error());
  }
}

}  // namespace

Result<SocketCheck> check_sockets(std::span<const Netns> places, std::uint64_t count, std::uint64_t seed,
                                  const std::vector<int>& cpus, const Stop& stop) {
  if (places.empty()) return fail(Errc::usage, "there is no namespace to open sockets in");
  if (std::ranges::any_of(places, &Netns::weak)) {
    return fail(Errc::unsupported, "sockets of this kernel do not say in which namespace they are (needs Linux 5.14)");
  }
  Shared shared(places, kinds(), count);
  std::vector<std::thread> threads;
  const auto start = std::chrono::steady_clock::now();
  for (const int cpu : cpus) {
    auto thread = start_worker([&shared, &stop, cpu, seed] {
      auto pinned = pin(cpu);
      if (!pinned) return shared.fail_with(std::move(pinned).error());
      open_until_done(shared, seed + static_cast<std::uint64_t>(cpu), stop);
    });
    if (!thread) {
      shared.fail_with(std::move(thread).error());
      break;
    }
    threads.push_back(std::move(*thread));
  }
  for (std::thread& thread : threads) thread.join();
  if (shared.error) return std::unexpected(*std::move(shared.error));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return SocketCheck{shared.asked, shared.wrong, seconds, static_cast<int>(threads.size())};
}

}  // namespace weir::netns::bench
