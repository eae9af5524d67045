#include "lossless.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "pinned.h"

namespace weir::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kBurst = 64;
constexpr int kSteps = 6;
constexpr double kLeastRate = 1000;

/// Sends at a rate, in bursts, and says at which it really was: a busy machine is slower.
Result<double> send_at(const ForwardNetwork& network, double rate, double seconds) {
  const auto begin = Clock::now();
  const auto packets = static_cast<std::uint64_t>(rate * seconds);
  std::uint64_t sent = 0;
  while (sent < packets && Clock::now() - begin < std::chrono::duration<double>(4 * seconds)) {
    const auto due = begin + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(static_cast<double>(sent) / rate));
    while (Clock::now() < due) {
    }
    const std::uint64_t burst = std::min(kBurst, packets - sent);
    if (auto done = network.send(burst); !done) return pass(std::move(done));
    sent += burst;
  }
  return static_cast<double>(sent) / std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What sender and router can do with nothing attached. Pinned no longer than that: tools inherit it.
Result<double> highest_rate(const ForwardNetwork& network, const LosslessPlan& plan) {
  constexpr double kAsFastAsItGoes = 1e7;
  const auto pinned = Pinned::on(plan.cpu);
  if (!pinned) return std::unexpected(pinned.error());
  return send_at(network, kAsFastAsItGoes, 0.1 * plan.seconds);
}

struct Trial {
  double rate = 0;
  bool lossless = false;
};

Result<Trial> attempt(const ForwardNetwork& network, const Tool& tool, const LosslessPlan& plan, double rate) {
  auto running = RunningTool::start(tool, network.router_fd());
  if (!running) return pass(std::move(running));
  Trial trial;
  {
    const auto pinned = Pinned::on(plan.cpu);
    if (!pinned) return std::unexpected(pinned.error());
    const auto sent = send_at(network, rate, plan.seconds);
    if (!sent) return std::unexpected(sent.error());
    trial.rate = *sent;
  }
  const auto lost = running->finish();
  if (!lost) return std::unexpected(lost.error());
  if (!*lost) return fail(Errc::failed, tool.name + " did not say what it lost");
  trial.lossless = **lost == 0;
  return trial;
}

/// The highest rate between none and `most` at which nothing was lost, by halving the ratio.
Result<double> search(const ForwardNetwork& network, const Tool& tool, const LosslessPlan& plan, double most) {
  auto first = attempt(network, tool, plan, most);
  if (!first) return std::unexpected(first.error());
  if (first->lossless) return first->rate;
  double low = kLeastRate;
  double high = most;
  double best = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double rate = std::sqrt(low * high);
    const auto trial = attempt(network, tool, plan, rate);
    if (!trial) return std::unexpected(trial.error());
    if (trial->lossless) {
      best = std::max(best, trial->rate);
      low = rate;
    } else {
      high = rate;
    }
  }
  return best;
}

}  // namespace

Result<std::vector<Lossless>> find_lossless(const ForwardNetwork& network, const std::vector<Tool>& tools,
                                            const LosslessPlan& plan, const std::function<bool()>& stopped) {
  std::vector<Lossless> rows{{.name = "nothing attached", .absent = {}, .packets_per_second = {}}};
  for (const Tool& tool : tools) rows.push_back({.name = tool.name, .absent = {}, .packets_per_second = {}});
  for (int round = 0; round < plan.searches; ++round) {
    const auto most = highest_rate(network, plan);
    if (!most) return std::unexpected(most.error());
    rows[0].packets_per_second.push_back(*most);
    for (std::size_t at = 0; at < tools.size(); ++at) {
      if (stopped()) return fail(Errc::failed, "interrupted");
      if (!rows[at + 1].absent.empty()) continue;
      const auto rate = search(network, tools[at], plan, *most);
      if (!rate)
        rows[at + 1].absent = rate.error().message;
      else
        rows[at + 1].packets_per_second.push_back(*rate);
    }
  }
  return rows;
}

}  // namespace weir::bench
