#include "netns/bench/switching.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <random>

#include "netns/bench/statistics.h"

namespace weir::netns::bench {

namespace {

using Clock = std::chrono::steady_clock;

double ns_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

/// Makes the compiler believe that somebody looks.
void keep(const void* pointer) {
  asm volatile("" : : "r"(pointer) : "memory");
}

/// A walk among places on which no two steps lead to the same one.
class Walk {
 public:
  Walk(std::span<const Netns> places, const Netns& home, std::uint64_t seed) {
    for (const Netns& place : places) order_.push_back(&place);
    std::ranges::shuffle(order_, std::mt19937_64(seed));
    if (order_.size() < 2) order_.push_back(&home);
  }
  const Netns& next() {
    const Netns& place = *order_[at_];
    at_ = at_ + 1 == order_.size() ? 0 : at_ + 1;
    return place;
  }
  [[nodiscard]] std::size_t size() const { return order_.size(); }

 private:
  std::vector<const Netns*> order_;
  std::size_t at_ = 0;
};

Result<void> visit(const Netns& place) {
  return run_in(
      place, []() -> Result<void> { return {}; }, Mode::sticky);
}

Result<void> visit_by_setns(const Netns& place) {
  if (::setns(place.fd(), CLONE_NEWNET) != 0) return fail_errno(errno, "setns");
  return {};
}

using Visit = Result<void> (*)(const Netns&);

struct Row {
  std::size_t namespaces = 0;
  Walk walk;
  std::vector<double> visits;
  std::vector<double> setns;
};

/// Times steps of the walk one by one.
Result<void> time_steps(Walk& walk, Visit step, int count, std::vector<double>& into) {
  // Once around: what was measured before has driven these namespaces out of the caches.
  constexpr std::size_t kMostWarmUp = 10'000;
  for (std::size_t i = 0; i < std::min(walk.size(), kMostWarmUp); ++i) {
    if (auto done = step(walk.next()); !done) return done;
  }
  for (int i = 0; i < count; ++i) {
    const Netns& place = walk.next();
    const auto start = Clock::now();
    auto done = step(place);
    into.push_back(ns_since(start));
    if (!done) return done;
  }
  return {};
}

/// What reading the clock adds to a time.
double clock_ns() {
  constexpr int kReadings = 2000;
  std::vector<double> readings;
  for (int i = 0; i < kReadings; ++i) readings.push_back(ns_since(Clock::now()));
  return median(readings);
}

/// Loops of one round, ns an iteration.
struct Loops {
  std::vector<double> empty, decision, scope;
};

void time_loops(const Netns& home, int count, Loops& loops) {
  auto start = Clock::now();
  for (int i = 0; i < count; ++i) keep(&home);
  loops.empty.push_back(ns_since(start) / count);
  int elsewhere = 0;
  start = Clock::now();
  for (int i = 0; i < count; ++i) {
    if (detail::thread_state.here != home.id()) [[unlikely]]
      keep(&++elsewhere);
    keep(&home);
  }
  loops.decision.push_back(ns_since(start) / count);
  start = Clock::now();
  for (int i = 0; i < count; ++i) {
    const auto scope = Scope::enter(home);
    keep(&scope);
  }
  loops.scope.push_back(ns_since(start) / count);
}

Result<void> time_round(std::vector<Row>& rows, const Netns& home, const SwitchingPlan& plan) {
  for (Row& row : rows) {
    if (auto timed = time_steps(row.walk, visit, plan.visits, row.visits); !timed) return timed;
    if (auto back = visit(home); !back) return back;
    // Behind the library's back, and home again before it looks.
    auto timed = time_steps(row.walk, visit_by_setns, plan.visits, row.setns);
    if (auto back = visit_by_setns(home); !back) return back;
    if (!timed) return timed;
  }
  return {};
}

Switching summary(const std::vector<Row>& rows, const Loops& loops, double clock, double getppid) {
  Switching result;
  const double empty = median(loops.empty);
  result.decision_ns = std::max(median(loops.decision) - empty, 0.0);
  result.scope_there_ns = std::max(median(loops.scope) - empty, 0.0);
  result.getppid_ns = getppid;
  for (const Row& row : rows) {
    const auto at = [clock](const std::vector<double>& times, double share) { return quantile(times, share) - clock; };
    const double p50 = at(row.visits, 0.5);
    result.rows.push_back({.namespaces = row.namespaces,
                           .p50_ns = p50,
                           .p99_ns = at(row.visits, 0.99),
                           .setns_p50_ns = at(row.setns, 0.5),
                           .setns_p99_ns = at(row.setns, 0.99),
                           .getppids = p50 / getppid});
  }
  const auto [least, most] = std::ranges::minmax(result.rows, {}, &SwitchCost::p50_ns);
  result.flatness = most.p50_ns / least.p50_ns;
  return result;
}

}  // namespace

std::vector<std::size_t> switch_counts(std::size_t most) {
  std::vector<std::size_t> counts;
  for (const std::size_t count : {1UL, 16UL, 64UL, 512UL, 1024UL, 4096UL, 10'000UL, 100'000UL}) {
    if (count < most) counts.push_back(count);
  }
  if (most > 0) counts.push_back(most);
  return counts;
}

Result<Switching> measure_switching(std::span<const Netns> places, const SwitchingPlan& plan, const Stop& stop) {
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  std::vector<Row> rows;
  for (const std::size_t count : switch_counts(places.size())) {
    rows.push_back(
        {.namespaces = count, .walk = Walk(places.first(count), *home, plan.seed), .visits = {}, .setns = {}});
  }
  if (rows.empty()) return fail(Errc::usage, "there is no namespace to switch to");
  Loops loops;
  std::vector<double> clock;
  std::vector<double> getppid;
  for (int round = 0; round == 0 || (round < plan.rounds && !stop()); ++round) {
    clock.push_back(clock_ns());
    getppid.push_back(getppid_ns(plan.visits));
    if (auto back = visit(*home); !back) return pass(std::move(back));
    time_loops(*home, plan.loops, loops);
    if (auto timed = time_round(rows, *home, plan); !timed) return pass(std::move(timed));
  }
  return summary(rows, loops, median(clock), median(getppid));
}

Result<Repeat> visiting(std::span<const Netns> places, std::uint64_t seed) {
  auto home = Netns::home();
  if (!home) return pass(std::move(home));
  auto kept = std::make_shared<const Netns>(std::move(*home));
  auto walk = std::make_shared<Walk>(places, *kept, seed);
  // A visit that fails costs the time of a failed system call; the next measurement says why.
  return Repeat([kept, walk](int times) {
    for (int i = 0; i < times; ++i) {
      if (!visit(walk->next())) return;
    }
  });
}

}  // namespace weir::netns::bench
