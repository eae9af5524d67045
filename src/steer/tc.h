// Traffic control of one network namespace through rtnetlink: the qdiscs and filters that plans add and take away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/strong_id.h"
#include "netns/netns.h"
#include "sys/netlink.h"

namespace weir::steer {

/// The two lists of filters of a clsact qdisc.
enum class TcHook : std::uint8_t { ingress, egress };
const char* to_string(TcHook hook);

/// A filter as the kernel lists it. `handle` 0 stands for the list head that every (preference, protocol) has.
struct TcFilterEntry {
  std::string kind;  ///< "bpf", "u32", …
  std::uint32_t preference = 0;
  std::uint32_t handle = 0;
  std::string name;              ///< TCA_BPF_NAME
  std::uint32_t program_id = 0;  ///< TCA_BPF_ID
  std::string program_tag;       ///< TCA_BPF_TAG
};

/// A bpf filter in direct-action mode for all protocols.
struct TcBpfFilter {
  IfIndex device;
  TcHook hook = TcHook::egress;
  std::uint32_t preference = 0;  ///< 1..65535
  std::uint32_t handle = 1;
  std::string name;
  int program_fd = -1;
};

/// A socket into one namespace; the calling thread stays where it is. Errors carry the kernel's own words where it
/// gives any (NLMSGERR_ATTR_MSG).
class TcSocket {
 public:
  static Result<TcSocket> open(const netns::Netns& ns);

  /// The device's name; nothing when there is no such device.
  Result<std::optional<std::string>> device_name(IfIndex device);
  /// Kind of the qdisc at the device's ingress/clsact place: "clsact", "ingress" or nothing.
  Result<std::optional<std::string>> clsact_kind(IfIndex device);
  /// Errc::busy when they keep changing while they are listed: a list that may lack one is no ground for anything.
  Result<std::vector<TcFilterEntry>> filters(IfIndex device, TcHook hook);

  /// Errc::failed with EEXIST when there is one already.
  Result<void> add_clsact(IfIndex device);
  /// Removes it with all its filters: look first.
  Result<void> delete_clsact(IfIndex device);
  /// Never replaces: EEXIST when preference and handle are taken.
  Result<void> add_filter(const TcBpfFilter& filter);
  /// Deletes exactly this filter and no other of the same preference.
  Result<void> delete_filter(IfIndex device, TcHook hook, std::uint32_t preference, std::uint32_t handle);

 private:
  explicit TcSocket(sys::NetlinkSocket socket) : socket_(std::move(socket)) {}
  sys::NetlinkSocket socket_;
};

}  // namespace weir::steer
