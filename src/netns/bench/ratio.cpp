#include "netns/bench/ratio.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

#include "netns/bench/statistics.h"

namespace weir::netns::bench {

namespace {

using Clock = std::chrono::steady_clock;

double ns_each(const Repeat& repeat, int times) {
  const auto start = Clock::now();
  repeat(times);
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / times;
}

}  // namespace

double getppid_ns(int times) {
  return ns_each(
      [](int count) {
        for (int i = 0; i < count; ++i) ::syscall(SYS_getppid);
      },
      times);
}

std::vector<std::vector<double>> in_getppids(std::span<const Repeat> operations, const RatioPlan& plan,
                                             const Stop& stop) {
  std::vector<std::vector<double>> samples(operations.size());
  for (const Repeat& operation : operations) operation(plan.operations * plan.slices);
  for (int round = 0; round < plan.rounds && !stop(); ++round) {
    std::vector<std::vector<double>> slices(operations.size());
    double before = getppid_ns(plan.getppids);
    for (int slice = 0; slice < plan.slices; ++slice) {
      for (std::size_t turn = 0; turn < operations.size(); ++turn) {
        const std::size_t which = (turn + static_cast<std::size_t>(slice)) % operations.size();
        const double cost = ns_each(operations[which], plan.operations);
        const double after = getppid_ns(plan.getppids);
        // An interrupt makes the dearer of the two measures meaningless.
        slices[which].push_back(cost / std::min(before, after));
        before = after;
      }
    }
    for (std::size_t i = 0; i < operations.size(); ++i) samples[i].push_back(median(slices[i]));
  }
  return samples;
}

}  // namespace weir::netns::bench
