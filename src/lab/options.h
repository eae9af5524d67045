// What a lab can be asked to vary: the axes of the test matrices.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace weir::lab {

enum class Family : std::uint8_t { v4, v6 };
enum class L4 : std::uint8_t { udp, tcp };
/// How the host joins its workloads to its uplinks.
enum class Path : std::uint8_t { routed, bridged, vxlan };

struct Options {
  std::string prefix = "weir-";   ///< namespaces are PREFIXpod, PREFIXhost, PREFIXwire, …
  std::string nic_name = "nic0";  ///< first uplink in the host; further ones count its last digits up
  std::string port_name{};        ///< first host-side port of a workload; empty: "pv0", or "tap0" for a TAP
  unsigned queues = 4;            ///< tx queues of every uplink, 2..64
  unsigned pods = 1;              ///< workloads; the last one is the culprit
  unsigned nics = 1;              ///< uplinks; the culprit sends by the first one only
  unsigned pod_queues = 0;        ///< queues of the culprit's own device; 0: what the scenario says
  unsigned flows = 0;             ///< flows of the culprit; 0: what the scenario says
  std::uint64_t pps = 0;          ///< packets a second of all senders together; 0: a load that two cores carry easily
  Family family = Family::v4;
  L4 l4 = L4::udp;
  std::optional<Path> path{};  ///< unset: what the scenario says
  bool host_traffic = false;   ///< the host itself sends by the uplinks too
  bool latency = false;        ///< a request/response probe beside the traffic
  unsigned cpus = 0;           ///< CPUs of the machine, for XPS maps; 0: ask the system
  std::string mq_tbf{};        ///< rate of each uplink queue, as tc(8) writes it ("50mbit"); empty: no qdisc
};

/// Checks ranges and names; Errc::usage names the option, what was given and what was expected.
Result<void> check(const Options& options);

/// "50mbit" → 50'000'000; Errc::usage for what is no rate (whole number and bit, kbit, mbit or gbit).
Result<std::uint64_t> parse_rate_bps(std::string_view text);

/// The name of the `index`-th device of a series: the last digits of `first` counted up ("nic0" → "nic2"), or the
/// index appended where it has none.
std::string series_name(const std::string& first, unsigned index);

}  // namespace weir::lab
