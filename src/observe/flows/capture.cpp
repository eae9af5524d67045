#include "observe/flows/capture.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "model/elephant.h"
#include "model/packet.h"

namespace weir::observe {

namespace {

using std::chrono::nanoseconds;

struct Closer {
  void operator()(pcap_t* handle) const { pcap_close(handle); }
};
using Capture = std::unique_ptr<pcap_t, Closer>;

/// A captured frame without what its link type puts in front.
struct Frame {
  model::PacketBytes bytes;
  std::uint16_t protocol = 0;  ///< ETH_P_* of what the bytes begin with; 0: IP, by its version
};

std::uint16_t u16_at(std::span<const std::byte> bytes, std::size_t at) {
  return static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[at]) << 8U |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

/// How many bytes of a link type's own stand in front of the network header, and where they tell its protocol.
struct LinkHeader {
  std::size_t bytes = 0;
  std::optional<std::size_t> protocol_at;
};

std::optional<LinkHeader> link_header(int link_type) {
  switch (link_type) {
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
      return LinkHeader{};
    case DLT_LINUX_SLL:
      return LinkHeader{.bytes = 16, .protocol_at = 14};
    case DLT_LINUX_SLL2:
      return LinkHeader{.bytes = 20, .protocol_at = 0};
    case DLT_NULL:
    case DLT_LOOP:
      return LinkHeader{.bytes = 4, .protocol_at = std::nullopt};
    default:
      return std::nullopt;
  }
}

/// Nothing when the frame is too short for its link type.
std::optional<Frame> frame_of(int link_type, const pcap_pkthdr& header, std::span<const std::byte> captured) {
  Frame frame;
  if (link_type == DLT_EN10MB) {
    frame.bytes = {
        .start = model::PacketStart::link, .length = header.len, .bytes = {captured.begin(), captured.end()}};
    return frame;
  }
  const auto link = link_header(link_type);
  if (!link || captured.size() < link->bytes) return std::nullopt;
  if (link->protocol_at) frame.protocol = u16_at(captured, *link->protocol_at);
  const auto rest = captured.subspan(link->bytes);
  frame.bytes = {.start = model::PacketStart::network,
                 .length = header.len - static_cast<std::uint32_t>(link->bytes),
                 .bytes = {rest.begin(), rest.end()}};
  return frame;
}

model::AddressBytes address_of(const std::string& text, bool v6) {
  model::AddressBytes address{};
  ::inet_pton(v6 ? AF_INET6 : AF_INET, text.c_str(), address.data());
  return address;
}

model::FlowTuple tuple_of(const model::Packet& packet, std::uint16_t protocol) {
  model::FlowTuple tuple;
  if (!packet.ip) {
    tuple.ethertype = packet.ethernet ? packet.ethernet->type : protocol;
    return tuple;
  }
  const bool v6 = packet.ip->version == 6;
  tuple.ethertype = v6 ? 0x86DD : 0x0800;
  tuple.protocol = packet.ip->protocol;
  tuple.source = address_of(packet.ip->src, v6);
  tuple.destination = address_of(packet.ip->dst, v6);
  if (packet.ip->fragment()) return tuple;
  if (packet.tcp) {
    tuple.source_port = packet.tcp->sport;
    tuple.destination_port = packet.tcp->dport;
  }
  for (const auto& ports : {packet.udp, packet.sctp}) {
    if (!ports) continue;
    tuple.source_port = ports->sport;
    tuple.destination_port = ports->dport;
  }
  return tuple;
}

struct Counted {
  model::Flow flow;
  model::ElephantJudge judge;
  bool was_elephant = false;
};

class Account {
 public:
  Account(const std::string& path, const model::ElephantPolicy& policy) : policy_(policy) {
    device_.netns.name = "capture";
    device_.name = std::filesystem::path(path).filename().string();
  }

  void add(const model::FlowKey& key, nanoseconds time, std::uint64_t bytes, std::uint8_t tcp_flags) {
    // Captures of several interfaces may step back in time.
    last_ = std::max(last_, time);
    if (!began_) began_ = time;
    Counted& counted = flows_[key];
    model::Flow& flow = counted.flow;
    if (flow.total.packets == 0) {
      flow.key = key;
      flow.device = device_;
      flow.first_seen = time;
    }
    flow.total += {.bytes = bytes, .packets = 1, .wire_packets = 1};
    flow.last_seen = std::max(flow.last_seen, time);
    flow.tcp_flags |= tcp_flags;
    counted.was_elephant |= counted.judge.take(policy_, flow.last_seen, bytes);
    all_bytes_ += bytes;
  }

  void finish(model::FlowWindow& window) {
    window.start = std::chrono::sys_time<nanoseconds>(began_.value_or(nanoseconds{}));
    window.duration = last_ - began_.value_or(last_);
    for (auto& [key, counted] : flows_) {
      model::Flow& flow = counted.flow;
      flow.window = flow.total;
      flow.rate_bps = model::flow_rate_bps(flow.total.bytes, flow.last_seen - flow.first_seen);
      flow.flow_class = counted.was_elephant                    ? model::FlowClass::elephant
                        : flow.total.bytes < model::kMouseBytes ? model::FlowClass::mouse
                                                                : model::FlowClass::medium;
      window.flows.push_back(std::move(flow));
    }
    sort_heaviest_first(window.flows);
    model::LedgerLine line;
    line.device = device_;
    line.accounted_bytes = line.interface_bytes = all_bytes_;
    window.ledger.lines = {line};
  }

 private:
  model::ElephantPolicy policy_;
  model::DeviceRef device_;
  std::map<model::FlowKey, Counted> flows_;
  std::optional<nanoseconds> began_;
  nanoseconds last_{};
  std::uint64_t all_bytes_ = 0;
};

Result<Capture> open_capture(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return fail(Errc::not_found, path + ": there is no such file");
  std::array<char, PCAP_ERRBUF_SIZE> why{};
  Capture capture(pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, why.data()));
  if (!capture) return fail(Errc::failed, fmt::format("{}: {}", path, why.data()), "a pcap or pcapng file is expected");
  const int link_type = pcap_datalink(capture.get());
  if (link_type != DLT_EN10MB && !link_header(link_type)) {
    const char* name = pcap_datalink_val_to_name(link_type);
    return fail(Errc::failed, fmt::format("{}: link type {} is not known here", path, name ? name : "?"));
  }
  return capture;
}

}  // namespace

Result<void> read_capture(const std::string& path, const model::ElephantPolicy& policy, model::FlowWindow& window) {
  auto capture = open_capture(path);
  if (!capture) return pass(std::move(capture));
  const int link_type = pcap_datalink(capture->get());
  Account account(path, policy);
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  std::uint64_t frames = 0;
  int read = 0;
  while ((read = pcap_next_ex(capture->get(), &header, &data)) == 1) {
    ++frames;
    model::FlowKey key;
    std::uint8_t tcp_flags = 0;
    if (const auto frame = frame_of(link_type, *header, std::as_bytes(std::span(data, header->caplen)))) {
      const model::Packet packet = model::dissect(frame->bytes, frame->protocol);
      key.tuple = tuple_of(packet, frame->protocol);
      if (!packet.vlans.empty()) key.vlan = packet.vlans.front().id();
      if (packet.tcp) tcp_flags = packet.tcp->flags;
    }
    // With the precision that was asked for, microseconds are nanoseconds.
    account.add(key, std::chrono::seconds(header->ts.tv_sec) + nanoseconds(header->ts.tv_usec), header->len, tcp_flags);
  }
  account.finish(window);
  if (read == PCAP_ERROR_BREAK) return {};
  return fail(Errc::failed, fmt::format("{}: after {} packets: {}", path, frames, pcap_geterr(capture->get())));
}

}  // namespace weir::observe
