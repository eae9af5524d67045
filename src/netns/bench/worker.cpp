#include "netns/bench/worker.h"

#include <sched.h>

#include "netns/netns.h"

namespace weir::netns::bench {

Result<std::vector<int>> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return fail_errno(errno, "asking which CPUs may be used");
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

Result<void> pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) {
    return fail_errno(errno, "keeping a thread on CPU " + std::to_string(cpu));
  }
  return {};
}

Result<void> on_worker(int cpu, const std::function<Result<void>()>& body) {
  // What stays when the thread cannot come home and ends before the body does.
  Result<void> done = fail(Errc::failed, "a measuring thread was lost in another network namespace");
  auto thread = start_worker([&] {
    auto pinned = pin(cpu);
    done = pinned ? body() : std::move(pinned);
  });
  if (!thread) return pass(std::move(thread));
  thread->join();
  return done;
}

}  // namespace weir::netns::bench
