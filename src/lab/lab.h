// Lab: a network of namespaces with real traffic and a known fault, alive as long as this object (or kept on purpose).
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "lab/scenarios.h"
#include "lab/state.h"
#include "lab/traffic/generator.h"

namespace weir::lab {

/// What one generator has done.
struct SenderReport {
  std::string label;
  std::string netns;
  TrafficKind kind = TrafficKind::udp_flows;
  unsigned flows = 0;
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  std::uint64_t errors = 0;
  std::chrono::nanoseconds p50{};  ///< request_response only
  std::chrono::nanoseconds p99{};
  std::chrono::nanoseconds p999{};
};

struct Report {
  std::chrono::nanoseconds duration{};
  std::vector<SenderReport> senders;
  std::uint64_t delivered_packets = 0;  ///< that arrived at the wire's ends of the uplinks
  std::uint64_t delivered_bytes = 0;
};

/// "weir.lab_report/1".
nlohmann::ordered_json to_json(const Report& report);

class [[nodiscard]] Lab {
 public:
  /// Draws and builds the scenario, without traffic. Cleans what a killed lab left under the same prefix. Errc::usage
  /// for wrong words, Errc::busy when the prefix is in use or a namespace of that name exists, Errc::permission without
  /// root. When it fails nothing is left.
  static Result<Lab> up(std::string_view scenario, const Options& options);

  Lab(Lab&&) noexcept;
  Lab& operator=(Lab&&) = delete;
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;
  /// Takes everything down, unless it is kept.
  ~Lab();

  /// Starts every generator and returns when packets of each are on their way and the first uplink's counters move.
  /// Errc::failed when that does not happen in time.
  Result<void> start_traffic(std::chrono::nanoseconds timeout = std::chrono::seconds(10));
  void stop_traffic();
  /// All generators work; else why not.
  [[nodiscard]] Result<void> traffic_alive() const;
  /// Since start_traffic() returned.
  [[nodiscard]] Result<Report> report() const;

  /// Removes everything; the object is of no further use.
  Result<void> down();
  /// Leaves the lab on the host for `weir lab down`; only without traffic.
  Result<void> keep();

  [[nodiscard]] const Blueprint& blueprint() const;
  /// The file with its document, for WEIR_LAB.
  [[nodiscard]] std::string document_path() const;

 private:
  struct Impl;
  explicit Lab(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Removes the lab under a prefix, kept or left behind by a killed process. Errc::not_found when there is none,
/// Errc::busy while a process runs it.
Result<void> take_down(const std::string& prefix);

}  // namespace weir::lab
