// NftTraceSwitch: makes nftables tell which rules packets meet, for as long as this object lives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "netns/netns.h"
#include "sys/netlink.h"

namespace weir::observe {

/// Which packets are traced; what is left empty is not looked at.
struct NftTraceOptions {
  std::string address;                   ///< IPv4 or IPv6, of either side
  std::optional<std::uint8_t> protocol;  ///< IPPROTO_*
  std::optional<std::uint16_t> port;     ///< of either side; TCP and UDP, unless `protocol` says which
  std::uint32_t per_second = 0;          ///< at most so many packets are begun to be traced a second; 0: all
};

/// A table of its own with rules that set `meta nftrace` on the packets that the options choose, in front of all
/// others: in the prerouting and output hooks, at priority -301. This changes the datapath: every packet of the
/// namespace goes by these rules, and a traced one costs a netlink message for each rule that it meets. The table has
/// the OWNER flag: the kernel removes it together with the socket that made it, also when the process is killed.
class [[nodiscard]] NftTraceSwitch {
 public:
  /// Errc::usage for options that are no address or no port of a protocol, Errc::permission without CAP_NET_ADMIN,
  /// Errc::unsupported without nf_tables or without the OWNER flag (Linux 5.12), Errc::busy when this process has a
  /// switch in that namespace already. When it fails, nothing was changed.
  static Result<NftTraceSwitch> on(const netns::Netns& ns, const NftTraceOptions& options = {});

  /// "weir_trace_PID".
  [[nodiscard]] const std::string& table() const { return table_; }

  /// What on() would add, in the words of nft(8).
  static Result<std::string> plan(const NftTraceOptions& options);

  /// Whether a table of that name is that of a switch, of whatever process.
  static bool is_own_table(std::string_view table);

 private:
  NftTraceSwitch(sys::NetlinkSocket socket, std::string table) : socket_(std::move(socket)), table_(std::move(table)) {}
  sys::NetlinkSocket socket_;
  std::string table_;
};

}  // namespace weir::observe
