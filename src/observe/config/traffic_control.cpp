#include "observe/config/traffic_control.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace weir::observe::config {

namespace {

using model::TcFilter;
using sys::AttrKind;
using sys::AttrRule;

constexpr AttrRule kTcPolicy[] = {{TCA_KIND, AttrKind::string}, {TCA_OPTIONS, AttrKind::nested}};
constexpr AttrRule kMqprioPolicy[] = {{TCA_OPTIONS, AttrKind::binary}};
constexpr AttrRule kTaprioPolicy[] = {{TCA_TAPRIO_ATTR_PRIOMAP, AttrKind::binary, sizeof(tc_mqprio_qopt)}};
constexpr AttrRule kActionPolicy[] = {{TCA_ACT_KIND, AttrKind::string}};
constexpr AttrRule kBpfPolicy[] = {
    {TCA_BPF_NAME, AttrKind::string}, {TCA_BPF_TAG, AttrKind::binary, 8}, {TCA_BPF_ID, AttrKind::u32}};

/// Under which attribute each kind of filter keeps its actions.
struct ActionPlace {
  const char* kind;
  std::uint16_t attribute;
};
constexpr ActionPlace kActionPlaces[] = {
    {"bpf", TCA_BPF_ACT},     {"u32", TCA_U32_ACT},    {"flower", TCA_FLOWER_ACT}, {"matchall", TCA_MATCHALL_ACT},
    {"basic", TCA_BASIC_ACT}, {"fw", TCA_FW_ACT},      {"flow", TCA_FLOW_ACT},     {"route", TCA_ROUTE4_ACT},
    {"rsvp", TCA_RSVP_ACT},   {"rsvp6", TCA_RSVP_ACT}, {"cgroup", TCA_CGROUP_ACT},
};

/// Qdiscs that cannot have filters of their own, so that the usual device costs no request.
constexpr std::string_view kClassless[] = {"noqueue",         "mq",       "pfifo_fast", "pfifo",    "bfifo",
                                           "pfifo_head_drop", "fq_codel", "fq",         "codel",    "pie",
                                           "mqprio",          "taprio",   "tbf",        "blackhole"};

void take_classes(const tc_mqprio_qopt& options, DeviceQdisc& out) {
  const std::size_t classes = std::min<std::size_t>(options.num_tc, TC_QOPT_MAX_QUEUE);
  for (std::size_t i = 0; i < classes; ++i) out.traffic_classes.push_back({options.offset[i], options.count[i]});
  out.prio_to_class.assign(std::begin(options.prio_tc_map), std::end(options.prio_tc_map));
}

Result<void> read_classes(const sys::NetlinkMessage& message, DeviceQdisc& out) {
  std::span<const std::byte> options;
  if (out.qdisc.kind == "mqprio") {  // the struct comes first, attributes follow it
    auto attributes = message.attributes<tcmsg>(kMqprioPolicy);
    if (!attributes) return pass(std::move(attributes));
    options = attributes->bytes(TCA_OPTIONS);
  } else {
    auto attributes = message.attributes<tcmsg>(kTcPolicy);
    if (!attributes) return pass(std::move(attributes));
    auto nested = attributes->nested(TCA_OPTIONS, kTaprioPolicy);
    if (!nested) return pass(std::move(nested));
    options = nested->bytes(TCA_TAPRIO_ATTR_PRIOMAP);
  }
  tc_mqprio_qopt values{};
  if (options.size() < sizeof values) return {};
  std::memcpy(&values, options.data(), sizeof values);
  take_classes(values, out);
  return {};
}

Result<void> read_actions(std::span<const std::byte> options, TcFilter& filter) {
  const auto place =
      std::ranges::find_if(kActionPlaces, [&](const ActionPlace& known) { return filter.kind == known.kind; });
  if (place == std::end(kActionPlaces)) return {};
  const std::array<AttrRule, 1> policy{{{place->attribute, AttrKind::nested}}};
  auto attributes = sys::Attributes::parse(options, policy);
  if (!attributes) return pass(std::move(attributes));
  auto actions = attributes->elements(place->attribute);
  if (!actions) return pass(std::move(actions));
  for (const auto& action : *actions) {
    auto parsed = sys::Attributes::parse(action, kActionPolicy);
    if (!parsed) return pass(std::move(parsed));
    if (parsed->has(TCA_ACT_KIND)) filter.actions.emplace_back(parsed->string(TCA_ACT_KIND));
  }
  return {};
}

Result<void> read_bpf(std::span<const std::byte> options, TcFilter& filter) {
  auto bpf = sys::Attributes::parse(options, kBpfPolicy);
  if (!bpf) return pass(std::move(bpf));
  filter.name = bpf->string(TCA_BPF_NAME);
  filter.program_id = bpf->u32(TCA_BPF_ID).value_or(0);
  for (const std::byte byte : bpf->bytes(TCA_BPF_TAG)) {
    filter.program_tag += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return {};
}

void dump_filters(sys::NetlinkSocket& socket, model::DeviceConfig& device, TcFilter::Hook hook, std::uint32_t parent) {
  tcmsg which{};
  which.tcm_family = AF_UNSPEC;
  which.tcm_ifindex = static_cast<int>(device.ref.ifindex.value);
  which.tcm_parent = parent;
  auto dump = socket.dump(sys::NetlinkRequest(RTM_GETTFILTER, 0, which), "tc filters");
  if (!dump) {
    device.unread.push_back(dump.error().message);
    return;
  }
  for (const sys::NetlinkMessage& message : dump->messages) {
    if (message.type() != RTM_NEWTFILTER) continue;
    auto filter = parse_filter(message, hook);
    if (!filter) {
      device.unread.push_back("tc filters: " + filter.error().message);
    } else if (*filter) {
      device.filters.push_back(std::move(**filter));
    }
  }
  if (!dump->consistent) device.unread.emplace_back("tc filters: they changed while they were read");
}

}  // namespace

Result<DeviceQdisc> parse_qdisc(const sys::NetlinkMessage& message) {
  const auto header = message.fixed<tcmsg>();
  if (!header) return std::unexpected(header.error());
  auto attributes = message.attributes<tcmsg>(kTcPolicy);
  if (!attributes) return pass(std::move(attributes));
  DeviceQdisc found;
  found.ifindex = static_cast<std::uint32_t>(header->tcm_ifindex);
  found.qdisc.kind = attributes->string(TCA_KIND);
  found.qdisc.handle = header->tcm_handle;
  found.qdisc.parent = header->tcm_parent;
  if (found.qdisc.kind == "mqprio" || found.qdisc.kind == "taprio") {
    if (auto read = read_classes(message, found); !read) return pass(std::move(read), found.qdisc.kind);
  }
  return found;
}

Result<std::optional<TcFilter>> parse_filter(const sys::NetlinkMessage& message, TcFilter::Hook hook) {
  const auto header = message.fixed<tcmsg>();
  if (!header) return std::unexpected(header.error());
  auto attributes = message.attributes<tcmsg>(kTcPolicy);
  if (!attributes) return pass(std::move(attributes));
  if (!attributes->has(TCA_OPTIONS)) return std::nullopt;
  TcFilter filter;
  filter.hook = hook;
  filter.kind = attributes->string(TCA_KIND);
  filter.priority = TC_H_MAJ(header->tcm_info) >> 16;
  filter.protocol = ntohs(static_cast<std::uint16_t>(TC_H_MIN(header->tcm_info)));
  filter.handle = header->tcm_handle;
  if (filter.kind == "u32" && TC_U32_NODE(filter.handle) == 0) return std::nullopt;
  const auto options = attributes->bytes(TCA_OPTIONS);
  if (filter.kind == "bpf") {
    if (auto read = read_bpf(options, filter); !read) return pass(std::move(read), "bpf filter");
  }
  if (auto read = read_actions(options, filter); !read) return pass(std::move(read), filter.kind + " filter");
  return filter;
}

Result<std::vector<DeviceQdisc>> read_qdiscs(sys::NetlinkSocket& socket) {
  tcmsg any{};
  any.tcm_family = AF_UNSPEC;
  auto dump = socket.dump(sys::NetlinkRequest(RTM_GETQDISC, 0, any), "qdiscs");
  if (!dump) return pass(std::move(dump));
  std::vector<DeviceQdisc> qdiscs;
  for (const sys::NetlinkMessage& message : dump->messages) {
    if (message.type() != RTM_NEWQDISC) continue;
    auto qdisc = parse_qdisc(message);
    if (!qdisc) return pass(std::move(qdisc), "qdiscs");
    qdiscs.push_back(std::move(*qdisc));
  }
  return qdiscs;
}

void read_filters(sys::NetlinkSocket& socket, model::DeviceConfig& device) {
  for (const model::Qdisc& qdisc : device.qdiscs) {
    if (qdisc.kind == "clsact" || qdisc.kind == "ingress") {
      dump_filters(socket, device, TcFilter::Hook::ingress, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS));
      if (qdisc.kind == "clsact") {
        dump_filters(socket, device, TcFilter::Hook::egress, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS));
      }
    } else if (qdisc.parent == TC_H_ROOT && std::ranges::find(kClassless, qdisc.kind) == std::end(kClassless)) {
      dump_filters(socket, device, TcFilter::Hook::root, qdisc.handle);
    }
  }
}

}  // namespace weir::observe::config
