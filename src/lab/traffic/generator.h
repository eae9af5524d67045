// Generators and sinks: one forked process each, inside a namespace of the lab, that dies with the lab.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "lab/blueprint.h"
#include "lab/traffic/latency.h"

namespace weir::lab {

/// What a generator tells the lab, in memory that both share.
struct Stats {
  std::atomic<std::uint64_t> packets{0};  ///< sent (sinks: received); for TCP, writes (sinks: reads)
  std::atomic<std::uint64_t> bytes{0};    ///< payload
  std::atomic<std::uint64_t> errors{0};   ///< refused by the kernel, lost replies, broken connections
  std::atomic<bool> ready{false};         ///< sockets are open; a sink may be sent to
  std::atomic<bool> failed{false};        ///< `failure` is valid and the process ends
  std::array<char, 200> failure{};
  LatencyHistogram latency;  ///< request_response: round trips
};

/// A running generator; destruction ends and reaps it.
class [[nodiscard]] Generator {
 public:
  /// Forks the process and moves it into the plan's namespace. The process is killed by the kernel when the calling
  /// thread ends, however that comes (PR_SET_PDEATHSIG).
  static Result<Generator> start(const TrafficPlan& plan);

  Generator(Generator&& other) noexcept
      : plan_(std::move(other.plan_)), pid_(std::exchange(other.pid_, -1)), stats_(std::move(other.stats_)) {}
  Generator& operator=(Generator&&) = delete;
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;
  ~Generator() { stop(); }

  void stop();
  [[nodiscard]] const TrafficPlan& plan() const { return plan_; }
  [[nodiscard]] const Stats& stats() const { return *stats_; }
  /// Why it cannot work, or that its process ended; success while it runs.
  [[nodiscard]] Result<void> alive() const;

 private:
  struct Unmap {
    void operator()(Stats* stats) const;
  };
  Generator(TrafficPlan plan, pid_t pid, std::unique_ptr<Stats, Unmap> stats)
      : plan_(std::move(plan)), pid_(pid), stats_(std::move(stats)) {}

  TrafficPlan plan_;
  pid_t pid_;
  std::unique_ptr<Stats, Unmap> stats_;
};

/// The loops, one a kind; each returns only when it cannot go on. They run inside the generator's process.
Result<void> send_udp_flows(const TrafficPlan& plan, Stats& stats);
Result<void> send_tcp_bulk(const TrafficPlan& plan, Stats& stats);
Result<void> receive_tcp(const TrafficPlan& plan, Stats& stats);
Result<void> write_tap_frames(const TrafficPlan& plan, Stats& stats);
Result<void> echo_udp(const TrafficPlan& plan, Stats& stats);
Result<void> request_and_time(const TrafficPlan& plan, Stats& stats);
Result<void> receive_udp(const TrafficPlan& plan, Stats& stats);
Result<void> leave_datagrams(const TrafficPlan& plan, Stats& stats);
Result<void> leave_connections(const TrafficPlan& plan, Stats& stats);
Result<void> open_connections(const TrafficPlan& plan, Stats& stats);

}  // namespace weir::lab
