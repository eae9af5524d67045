#include "netns/bench/ratio.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "netns/bench/statistics.h"

namespace weir::netns::bench {

namespace {

using Clock = std::chrono::steady_clock;

double ns_each(const Repeat& repeat, int times) {
  const auto start = Clock::now();
  repeat(times);
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / times;
}

/// An operation's slice and the getppids around it, ns each.
struct Slice {
  double cost = 0, before = 0, after = 0;
};

/// By round.
using Slices = std::vector<std::vector<Slice>>;

/// The medians of the rounds that have enough slices in which no getppid took longer than `limit`.
std::vector<double> round_medians(const Slices& rounds, double limit) {
  constexpr std::size_t kEnough = 3;
  std::vector<double> medians;
  for (const std::vector<Slice>& slices : rounds) {
    std::vector<double> ratios;
    for (const Slice& slice : slices) {
      // The lesser of the two: an interrupt makes the other one meaningless.
      if (std::max(slice.before, slice.after) <= limit)
        ratios.push_back(slice.cost / std::min(slice.before, slice.after));
    }
    if (ratios.size() >= kEnough) medians.push_back(median(ratios));
  }
  return medians;
}

}  // namespace

double getppid_ns(int times) {
  return ns_each(
      [](int count) {
        for (int i = 0; i < count; ++i) ::syscall(SYS_getppid);
      },
      times);
}

InGetppids in_getppids(std::span<const Repeat> operations, const RatioPlan& plan, const Stop& stop) {
  std::vector<Slices> all(operations.size());
  std::vector<double> getppids;
  for (const Repeat& operation : operations) operation(plan.operations * plan.slices);
  for (int round = 0; round < plan.rounds && !stop(); ++round) {
    for (Slices& slices : all) slices.emplace_back();
    double before = getppid_ns(plan.getppids);
    for (int slice = 0; slice < plan.slices; ++slice) {
      for (std::size_t turn = 0; turn < operations.size(); ++turn) {
        const std::size_t which = (turn + static_cast<std::size_t>(slice)) % operations.size();
        const double cost = ns_each(operations[which], plan.operations);
        const double after = getppid_ns(plan.getppids);
        all[which].back().push_back({cost, before, after});
        getppids.push_back(after);
        before = after;
      }
    }
  }
  constexpr double kQuickest = 0.02;
  constexpr double kCalm = 1.03;
  constexpr std::size_t kFewest = 5;
  InGetppids result{.samples = {}, .getppid_ns = quantile(getppids, kQuickest)};
  for (const Slices& rounds : all) {
    auto samples = round_medians(rounds, kCalm * result.getppid_ns);
    if (samples.size() < kFewest) samples = round_medians(rounds, std::numeric_limits<double>::infinity());
    result.samples.push_back(std::move(samples));
  }
  return result;
}

}  // namespace weir::netns::bench
