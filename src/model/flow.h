// Flows: who sends what to whom on which device, with exact counters; and the ledger that proves that nothing is
// missing.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/entity.h"
#include "model/namespaces.h"

namespace weir::model {

enum class FlowDirection : std::uint8_t { tx, rx };
const char* to_string(FlowDirection direction);

/// Elephant: by the policy. Mouse: ended before it grew large. Medium: neither.
enum class FlowClass : std::uint8_t { mouse, medium, elephant };
const char* to_string(FlowClass flow_class);

/// An IPv4 address is in the first four bytes, the others are 0.
using AddressBytes = std::array<std::uint8_t, 16>;

/// The 5-tuple. Protocols without ports, fragments behind the first and what lies behind an unknown IPv6 extension
/// header have ports 0. What is not IP is one flow an ethertype.
struct FlowTuple {
  AddressBytes source{};
  AddressBytes destination{};
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
  std::uint16_t ethertype = 0;  ///< 0x0800, 0x86dd, or what the frame has
  std::uint8_t protocol = 0;    ///< IPPROTO_*, 0 for what is not IP
  auto operator<=>(const FlowTuple&) const = default;
  /// 4, 6, or 0 for what is not IP.
  [[nodiscard]] int family() const { return ethertype == 0x0800 ? 4 : ethertype == 0x86dd ? 6 : 0; }
  [[nodiscard]] FlowTuple reversed() const;
};

/// Well mixed: for hash tables.
std::uint64_t hash_of(const FlowTuple& tuple);
/// The address as people write it; empty for what is not IP.
std::string address_text(const AddressBytes& address, int family);
/// "tcp", "udp", "icmp", "icmp6", "sctp", … else the number; for what is not IP "arp" or "0x88cc".
std::string protocol_text(const FlowTuple& tuple);
/// "10.0.0.1:80 > 10.0.0.2:4711", "[2001:db8::1]:80 > …"; without ports where there are none.
std::string to_string(const FlowTuple& tuple);

/// Identity of a flow on a host: tenants with equal addresses never merge (namespace, device), nor do VLANs.
struct FlowKey {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  FlowDirection direction = FlowDirection::tx;
  std::uint16_t vlan = 0;  ///< id of the outermost tag, 0: none
  FlowTuple tuple;
  auto operator<=>(const FlowKey&) const = default;
};

/// What conntrack made of the connection: the tuples of both directions as it knows them, which differ by NAT.
struct FlowNat {
  FlowTuple original;
  FlowTuple reply;
  std::uint16_t zone = 0;
  std::uint32_t mark = 0;
  bool operator==(const FlowNat&) const = default;
  /// Whether addresses or ports are rewritten at all.
  [[nodiscard]] bool rewrites() const { return reply != original.reversed(); }
};

/// Counters of one flow, cumulative since it was first seen.
struct FlowCount {
  std::uint64_t bytes = 0;         ///< from the link header on, as socket buffers carry them
  std::uint64_t packets = 0;       ///< socket buffers
  std::uint64_t wire_packets = 0;  ///< what they are on the wire: a GSO packet counts as its segments
  FlowCount& operator+=(const FlowCount& other);
  bool operator==(const FlowCount&) const = default;
};

/// What the sending TCP socket says of a flow; only where the socket is of this host and seen at transmission.
struct FlowTcp {
  std::uint32_t srtt_us = 0;
  std::uint32_t retransmits = 0;  ///< of the connection so far
  bool operator==(const FlowTcp&) const = default;
};

struct ConntrackEntry;

/// The connection that a flow belongs to, with its other flows: on every device that it crosses, and back.
struct FlowConnection {
  std::uint64_t id = 0;
  bool counted = false;  ///< of all flows of the connection in this direction, the one whose bytes count
  FlowTuple sent;        ///< in this direction, as the initiator knows it
};

struct Flow {
  FlowKey key;
  DeviceRef device;
  FlowCount total;                        ///< since it was first seen
  FlowCount window;                       ///< within the window that was watched
  std::chrono::nanoseconds first_seen{};  ///< CLOCK_MONOTONIC
  std::chrono::nanoseconds last_seen{};
  double rate_bps = 0;         ///< bits a second over the window, or over its life where that is shorter
  std::uint8_t tcp_flags = 0;  ///< all that were seen
  std::optional<FlowTcp> tcp;
  std::optional<FlowNat> nat;
  FlowClass flow_class = FlowClass::medium;
  std::uint64_t cgroup = 0;  ///< of the socket, 0: none was seen
  std::optional<WorkloadRef> workload;
  std::optional<FlowConnection> connection;         ///< where flows were joined
  std::shared_ptr<const ConntrackEntry> conntrack;  ///< of the flow's own namespace; nullptr: none, or not known
};

/// Sorts by the bytes of the window, most first; equal ones by key, so that the order is always the same.
void sort_heaviest_first(std::vector<Flow>& flows);
/// Bits a second; of less than a millisecond nobody can tell a rate, so a span counts as that at least.
double flow_rate_bps(std::uint64_t bytes, std::chrono::nanoseconds span);

/// When a flow is an elephant: at least `bytes` in all, and at least `rate_bps` for at least `sustained`; it stops
/// being one when it was below half of that rate for `demote_after`. Defaults and their reasons: docs/flows.md.
struct ElephantPolicy {
  std::uint64_t bytes = 1U << 20U;
  double rate_bps = 10e6;
  std::chrono::nanoseconds sustained = std::chrono::milliseconds(100);
  std::chrono::nanoseconds demote_after = std::chrono::seconds(5);
};

/// A mouse has ended, or been silent for a while, with fewer bytes than this.
inline constexpr std::uint64_t kMouseBytes = 100U * 1024U;

struct FlowEvent {
  enum class Kind : std::uint8_t { promoted, demoted, ended };
  Kind kind = Kind::promoted;
  std::chrono::nanoseconds time{};  ///< CLOCK_MONOTONIC
  FlowKey key;
  std::uint64_t bytes = 0;  ///< so far
  double rate_bps = 0;      ///< as the policy measured it
};
const char* to_string(FlowEvent::Kind kind);

/// One device and direction in a window: bytes of flows, of packets whose flow found no room, and of the interface's
/// own counter. What the flows and the overflow do not explain is unattributed.
///
/// Interfaces do not agree on what they count. Some leave the link header of received packets out; and the headers of
/// the segments of a large packet are counted where it was cut before or is cut after, and not elsewhere.
struct LedgerLine {
  DeviceRef device;
  FlowDirection direction = FlowDirection::tx;
  std::uint64_t accounted_bytes = 0;
  std::uint64_t overflow_bytes = 0;
  std::uint64_t interface_bytes = 0;
  std::uint64_t link_header_bytes = 0;     ///< within the accounted ones, but not within the interface's
  std::uint64_t segment_header_bytes = 0;  ///< beyond the accounted ones; the interface may have counted them
  std::uint64_t below_bytes = 0;           ///< received, and accounted, at a device below this one
  /// The line can be off by so much, because flows and counters were not read at the same moment.
  std::uint64_t moment_bytes = 0;
  /// Interface minus the rest; negative when more was accounted than the interface counted.
  [[nodiscard]] std::int64_t unattributed_bytes() const;
};

struct Ledger {
  std::vector<LedgerLine> lines;
  [[nodiscard]] LedgerLine total() const;  ///< without a device
};

/// All flows of a window.
struct FlowWindow {
  std::chrono::sys_time<std::chrono::nanoseconds> start;
  std::chrono::nanoseconds duration{};
  std::vector<Flow> flows;
  Ledger ledger;
  std::uint32_t table_flows = 0;  ///< that find room in the table for sure; 0: it has no bound
};

}  // namespace weir::model
