#include "observe/trace/decode.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace weir::observe {

namespace {

constexpr std::uint16_t kCustomerTag = 0x8100;

std::size_t sections_bytes(std::uint16_t sections) {
  return ((sections & WEIR_SECTION_CT) != 0 ? sizeof(weir_trace_ct) : 0) +
         ((sections & WEIR_SECTION_FIB) != 0 ? sizeof(weir_trace_fib) : 0) +
         ((sections & WEIR_SECTION_PACKET) != 0 ? sizeof(weir_trace_packet) : 0) +
         ((sections & WEIR_SECTION_STACK) != 0 ? sizeof(weir_trace_stack) : 0) +
         ((sections & WEIR_SECTION_XDP) != 0 ? sizeof(weir_trace_xdp) : 0);
}

/// The next section; the caller has checked that there is enough.
template <class Section>
Section take(std::span<const std::byte>& rest) {
  Section section;
  std::memcpy(&section, rest.data(), sizeof section);
  rest = rest.subspan(sizeof section);
  return section;
}

std::string address_text(int family, const std::uint8_t* bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* written = ::inet_ntop(family == AF_INET6 ? AF_INET6 : AF_INET, bytes, text.data(), text.size());
  return written == nullptr ? std::string{} : std::string(written);
}

const char* state_name(unsigned info) {
  switch (info) {  // enum ip_conntrack_info
    case 0:
      return "established";
    case 1:
      return "related";
    case 2:
      return "new";
    case 3:
      return "established-reply";
    case 4:
      return "related-reply";
    default:
      return "untracked";
  }
}

model::Conntrack conntrack(const weir_trace_ct& ct) {
  model::Conntrack connection;
  connection.state = state_name(ct.info);
  connection.status = ct.status;
  connection.mark = ct.mark;
  connection.zone = ct.zone;
  if (ct.family == 0) return connection;
  const auto tuple = [&](int first) {
    return model::CtTuple{.src = address_text(ct.family, ct.address[first]),
                          .dst = address_text(ct.family, ct.address[first + 1]),
                          .sport = ntohs(ct.port_be[first]),
                          .dport = ntohs(ct.port_be[first + 1]),
                          .protocol = ct.protocol};
  };
  connection.original = tuple(0);
  connection.reply = tuple(2);
  return connection;
}

model::FibLookup lookup(const weir_trace_fib& fib) {
  model::FibLookup found{.table = fib.table,
                         .error = fib.error,
                         .oif = fib.oif,
                         .src = address_text(fib.family, fib.source),
                         .dst = address_text(fib.family, fib.destination),
                         .gateway = {}};
  if (fib.gateway_family != 0) found.gateway = address_text(fib.gateway_family, fib.gateway);
  return found;
}

std::string action_name(std::uint32_t action) {
  constexpr std::array<std::string_view, 5> kActions{"ABORTED", "DROP", "PASS", "TX", "REDIRECT"};
  return action < kActions.size() ? std::string(kActions[action]) : fmt::format("{}", action);
}

model::XdpOutcome xdp_outcome(const weir_trace_xdp& xdp) {
  return {.action = action_name(xdp.action),
          .program = xdp.program,
          .error = xdp.error,
          .to = xdp.to,
          .sent = xdp.sent,
          .dropped = xdp.dropped};
}

model::PacketBytes packet_bytes(const weir_trace_packet& packet) {
  const std::size_t size = std::min<std::size_t>(packet.captured, WEIR_TRACE_SNAP);
  const auto bytes = std::as_bytes(std::span(packet.bytes).first(size));
  return {.start = packet.is_link != 0 ? model::PacketStart::link : model::PacketStart::network,
          .length = packet.length,
          .bytes = {bytes.begin(), bytes.end()}};
}

model::SkbFields skb_fields(const weir_trace_event& head) {
  model::SkbFields skb{.address = head.skb,
                       .queue_mapping = head.queue_mapping,
                       .mark = head.mark,
                       .hash = head.hash,
                       .priority = head.priority,
                       .len = head.len,
                       .gso_segs = head.gso_segs,
                       .gso_size = head.gso_size,
                       .protocol = head.protocol,
                       .vlan_tci = std::nullopt,
                       .vlan_protocol = kCustomerTag,
                       .napi_id = head.napi_id,
                       .ip_summed = head.ip_summed,
                       .iif = head.iif};
  if ((head.flags & WEIR_FLAG_VLAN) != 0) skb.vlan_tci = head.vlan_tci;
  if (head.vlan_proto != 0) skb.vlan_protocol = head.vlan_proto;
  return skb;
}

bool says_result(std::uint16_t hook) {
  return hook == WEIR_HOOK_net_dev_xmit || hook == WEIR_HOOK_skb_copy_datagram_iovec || hook == WEIR_HOOK_icmp_send ||
         hook == WEIR_HOOK_inet_sock_set_state || hook == WEIR_HOOK_udp_fail_queue_rcv_skb ||
         hook == WEIR_HOOK_qdisc_dequeue || hook == WEIR_HOOK_neigh_event_send_done || hook == WEIR_HOOK_neigh_create;
}

std::string hook_name(std::uint16_t number, const TraceNames& names) {
  const auto found = names.hooks.find(number);
  return found == names.hooks.end() ? fmt::format("hook#{}", number) : found->second;
}

model::TraceEvent event_of(const weir_trace_event& head, const TraceNames& names) {
  model::TraceEvent event;
  event.time_ns = head.time_ns;
  event.journey = head.journey;
  event.sequence = head.sequence;
  event.branch = head.branch;
  event.cpu = head.cpu;
  event.hook = {head.hook, hook_name(head.hook, names)};
  if (names.device) event.device = names.device(head.netns, head.ifindex);
  event.beside = (head.flags & WEIR_FLAG_BESIDE) != 0;
  event.skb = skb_fields(head);
  event.cgroup = head.cgroup;
  const model::WorkloadRef* workload = names.workload ? names.workload(head.cgroup, head.netns) : nullptr;
  if (workload != nullptr) event.workload = workload->name;
  event.clone = (head.flags & WEIR_FLAG_CLONE) != 0;
  event.first = (head.flags & WEIR_FLAG_FIRST) != 0;
  event.last = (head.flags & WEIR_FLAG_LAST) != 0;
  if (head.hook == WEIR_HOOK_kfree_skb) {
    const auto reason = static_cast<std::uint32_t>(head.result);
    event.drop =
        model::Drop{.number = reason,
                    .reason = names.drop_reason ? names.drop_reason(reason) : fmt::format("#{}", reason),
                    .address = head.argument,
                    .location = names.symbol ? names.symbol(head.argument) : fmt::format("{:#x}", head.argument)};
  }
  if (says_result(head.hook)) event.result = head.result;
  return event;
}

}  // namespace

Result<weir_trace_event> record_head(std::span<const std::byte> record) {
  weir_trace_event head;
  if (record.size() < sizeof head) return fail(Errc::failed, "a record of the trace is too short");
  std::memcpy(&head, record.data(), sizeof head);
  if (record.size() < sizeof head + sections_bytes(head.sections)) {
    return fail(Errc::failed, "a record of the trace is shorter than it says");
  }
  return head;
}

Result<model::TraceEvent> decode(std::span<const std::byte> record, const TraceNames& names) {
  const auto head = record_head(record);
  if (!head) return std::unexpected(head.error());
  model::TraceEvent event = event_of(*head, names);
  std::span<const std::byte> rest = record.subspan(sizeof(weir_trace_event));
  if ((head->sections & WEIR_SECTION_CT) != 0) event.ct = conntrack(take<weir_trace_ct>(rest));
  if ((head->sections & WEIR_SECTION_FIB) != 0) event.fib = lookup(take<weir_trace_fib>(rest));
  if ((head->sections & WEIR_SECTION_PACKET) != 0) event.packet = packet_bytes(take<weir_trace_packet>(rest));
  if ((head->sections & WEIR_SECTION_STACK) != 0) {
    const auto stack = take<weir_trace_stack>(rest);
    for (std::uint32_t index = 0; index < std::min<std::uint32_t>(stack.count, WEIR_TRACE_STACK); ++index) {
      event.stack.push_back(names.symbol ? names.symbol(stack.address[index])
                                         : fmt::format("{:#x}", stack.address[index]));
    }
  }
  if ((head->sections & WEIR_SECTION_XDP) != 0) event.xdp = xdp_outcome(take<weir_trace_xdp>(rest));
  return event;
}

}  // namespace weir::observe
