#include "observe/flows/conntrack/message.h"

#include <endian.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "sys/netlink_walk.h"

namespace weir::observe {

namespace {

using Bytes = std::span<const std::byte>;
using sys::each_attribute;

constexpr std::uint16_t kEthertypeIpv4 = 0x0800;
constexpr std::uint16_t kEthertypeIpv6 = 0x86dd;
// linux/netfilter/nfnetlink_conntrack.h: enum ctattr_tstamp.
constexpr std::uint16_t kTimestampStart = 1;

/// Numbers of ctnetlink are in network order. What is too short says nothing.
template <class T>
std::optional<T> number(Bytes payload) {
  if (payload.size() < sizeof(T)) return std::nullopt;
  T value{};
  std::memcpy(&value, payload.data(), sizeof value);
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return be16toh(value);
  if constexpr (sizeof(T) == 4) return be32toh(value);
  if constexpr (sizeof(T) == 8) return be64toh(value);
}

void copy_address(model::AddressBytes& to, Bytes payload) {
  const auto raw = payload.first(std::min(payload.size(), to.size()));
  std::memcpy(to.data(), raw.data(), raw.size());
}

bool read_addresses(model::FlowTuple& tuple, Bytes nest) {
  return each_attribute(nest, [&](std::uint16_t type, Bytes payload) {
    switch (type) {
      case CTA_IP_V4_SRC:
      case CTA_IP_V4_DST:
        tuple.ethertype = kEthertypeIpv4;
        copy_address(type == CTA_IP_V4_SRC ? tuple.source : tuple.destination,
                     payload.first(std::min<std::size_t>(payload.size(), 4)));
        break;
      case CTA_IP_V6_SRC:
      case CTA_IP_V6_DST:
        tuple.ethertype = kEthertypeIpv6;
        copy_address(type == CTA_IP_V6_SRC ? tuple.source : tuple.destination, payload);
        break;
      default:
        break;
    }
  });
}

bool read_protocol(model::FlowTuple& tuple, std::uint16_t& icmp_id, Bytes nest) {
  return each_attribute(nest, [&](std::uint16_t type, Bytes payload) {
    switch (type) {
      case CTA_PROTO_NUM:
        tuple.protocol = number<std::uint8_t>(payload).value_or(0);
        break;
      case CTA_PROTO_SRC_PORT:
        tuple.source_port = number<std::uint16_t>(payload).value_or(0);
        break;
      case CTA_PROTO_DST_PORT:
        tuple.destination_port = number<std::uint16_t>(payload).value_or(0);
        break;
      case CTA_PROTO_ICMP_ID:
      case CTA_PROTO_ICMPV6_ID:
        icmp_id = number<std::uint16_t>(payload).value_or(0);
        break;
      default:
        break;
    }
  });
}

struct RawTuple {
  model::FlowTuple tuple;
  std::uint16_t icmp_id = 0;
  std::optional<std::uint16_t> zone;  ///< of this direction alone
};

bool read_tuple(RawTuple& to, Bytes nest) {
  bool sound = true;
  return each_attribute(nest,
                        [&](std::uint16_t type, Bytes payload) {
                          if (type == CTA_TUPLE_IP) sound &= read_addresses(to.tuple, payload);
                          if (type == CTA_TUPLE_PROTO) sound &= read_protocol(to.tuple, to.icmp_id, payload);
                          if (type == CTA_TUPLE_ZONE) to.zone = number<std::uint16_t>(payload);
                        }) &&
         sound;
}

bool read_counters(std::optional<model::ConntrackCount>& to, Bytes nest) {
  model::ConntrackCount count;
  const bool sound = each_attribute(nest, [&](std::uint16_t type, Bytes payload) {
    if (type == CTA_COUNTERS_PACKETS) count.packets = number<std::uint64_t>(payload).value_or(0);
    if (type == CTA_COUNTERS_BYTES) count.bytes = number<std::uint64_t>(payload).value_or(0);
  });
  to = count;
  return sound;
}

bool read_tcp_state(model::ConntrackEntry& entry, Bytes nest) {
  bool sound = true;
  return each_attribute(nest,
                        [&](std::uint16_t type, Bytes payload) {
                          if (type != CTA_PROTOINFO_TCP) return;
                          sound &= each_attribute(payload, [&](std::uint16_t inner, Bytes value) {
                            if (inner == CTA_PROTOINFO_TCP_STATE) entry.tcp_state = number<std::uint8_t>(value);
                          });
                        }) &&
         sound;
}

bool read_timestamp(model::ConntrackEntry& entry, Bytes nest) {
  return each_attribute(nest, [&](std::uint16_t type, Bytes payload) {
    if (type != kTimestampStart) return;
    if (const auto ns = number<std::uint64_t>(payload)) {
      entry.started = std::chrono::sys_time<std::chrono::nanoseconds>(
          std::chrono::nanoseconds(static_cast<std::chrono::nanoseconds::rep>(*ns)));
    }
  });
}

bool read_attribute(ConntrackMessage& to, std::uint16_t type, Bytes payload) {
  model::ConntrackEntry& entry = to.entry;
  switch (type) {
    case CTA_TUPLE_ORIG: {
      RawTuple raw;
      if (!read_tuple(raw, payload)) return false;
      entry.original = raw.tuple;
      entry.icmp_id = raw.icmp_id;
      if (raw.zone) entry.zone = *raw.zone;
      return true;
    }
    case CTA_TUPLE_REPLY: {
      RawTuple raw;
      if (!read_tuple(raw, payload)) return false;
      entry.reply = raw.tuple;
      return true;
    }
    case CTA_STATUS:
      to.status = number<std::uint32_t>(payload);
      return true;
    case CTA_PROTOINFO:
      return read_tcp_state(entry, payload);
    case CTA_TIMEOUT:
      entry.timeout_s = number<std::uint32_t>(payload);
      return true;
    case CTA_MARK:
      to.mark = number<std::uint32_t>(payload);
      return true;
    case CTA_COUNTERS_ORIG:
      return read_counters(entry.original_count, payload);
    case CTA_COUNTERS_REPLY:
      return read_counters(entry.reply_count, payload);
    case CTA_ID:
      entry.id = number<std::uint32_t>(payload).value_or(0);
      return true;
    case CTA_ZONE:
      entry.zone = number<std::uint16_t>(payload).value_or(0);
      return true;
    case CTA_TIMESTAMP:
      return read_timestamp(entry, payload);
    default:
      return true;
  }
}

std::optional<nlmsghdr> header_of(Bytes message) {
  if (message.size() < NLMSG_HDRLEN) return std::nullopt;
  nlmsghdr header{};
  std::memcpy(&header, message.data(), sizeof header);
  return header;
}

}  // namespace

bool is_conntrack(std::span<const std::byte> message) {
  const auto header = header_of(message);
  if (!header || NFNL_SUBSYS_ID(header->nlmsg_type) != NFNL_SUBSYS_CTNETLINK) return false;
  const auto type = NFNL_MSG_TYPE(header->nlmsg_type);
  return type == IPCTNL_MSG_CT_NEW || type == IPCTNL_MSG_CT_DELETE;
}

Result<ConntrackMessage> parse_conntrack(std::span<const std::byte> message) {
  constexpr std::size_t kFixed = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
  const auto header = header_of(message);
  if (!header || message.size() < kFixed) return fail(Errc::failed, "conntrack message is too short");
  ConntrackMessage read;
  read.destroyed = NFNL_MSG_TYPE(header->nlmsg_type) == IPCTNL_MSG_CT_DELETE;
  bool sound = true;
  sound &= each_attribute(message.subspan(kFixed),
                          [&](std::uint16_t type, Bytes payload) { sound &= read_attribute(read, type, payload); });
  if (!sound) return fail(Errc::failed, "conntrack message has a torn attribute");
  if (read.entry.original.family() == 0) return fail(Errc::failed, "conntrack message has no original tuple");
  read.entry.status = read.status.value_or(0);
  read.entry.mark = read.mark.value_or(0);
  return read;
}

}  // namespace weir::observe
