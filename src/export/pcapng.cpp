#include "export/pcapng.h"

#include <fmt/format.h>

#include <algorithm>
#include <compare>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "model/trace_json.h"

namespace weir::exporter {

namespace {

using model::FieldChanges;
using model::Journey;
using model::JourneyState;
using model::PacketBytes;
using model::PacketStart;
using model::TraceEvent;

/// LINKTYPE_ values of https://www.tcpdump.org/linktypes.html
enum class LinkType : std::uint16_t { ethernet = 1, raw_ip = 101, linux_cooked = 113 };

constexpr std::uint32_t kSectionHeader = 0x0A0D0D0A;
constexpr std::uint32_t kInterfaceDescription = 1;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint16_t kEndOfOptions = 0;
constexpr std::uint16_t kComment = 1;
constexpr std::uint16_t kSectionApplication = 4;
constexpr std::uint16_t kInterfaceName = 2;
constexpr std::uint16_t kInterfaceResolution = 9;
constexpr std::size_t kMostOptionBytes = 0xFFFF;

/// A block that is being put together: everything in it is a multiple of four bytes.
class Block {
 public:
  explicit Block(std::uint32_t type) {
    number(type);
    number(std::uint32_t{0});  // the length, once it is known
  }
  template <class T>
  Block& number(T value) {
    return raw(&value, sizeof value);
  }
  Block& bytes(std::span<const std::byte> content) {
    raw(content.data(), content.size());
    data_.resize((data_.size() + 3) / 4 * 4, '\0');
    return *this;
  }
  Block& option(std::uint16_t code, std::string_view value) {
    value = value.substr(0, kMostOptionBytes);
    number(code).number(static_cast<std::uint16_t>(value.size()));
    return bytes(std::as_bytes(std::span(value)));
  }
  void write(std::ostream& out) {
    const auto length = static_cast<std::uint32_t>(data_.size() + sizeof(std::uint32_t));
    number(length);
    std::memcpy(data_.data() + sizeof(std::uint32_t), &length, sizeof length);
    out.write(data_.data(), static_cast<std::streamsize>(data_.size()));
  }

 private:
  Block& raw(const void* from, std::size_t size) {
    if (size != 0) data_.append(static_cast<const char*>(from), size);
    return *this;
  }
  std::string data_;
};

/// An event, what its packet looked like then, and what is said about it.
struct Frame {
  const TraceEvent* event = nullptr;
  const PacketBytes* bytes = nullptr;
  std::uint16_t protocol = 0;  ///< of the skb when the bytes were copied
  std::string changes;
};

/// An interface of the capture. Names may repeat between namespaces, so that the numbers decide.
struct InterfaceKey {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  std::string name;
  LinkType link = LinkType::ethernet;
  auto operator<=>(const InterfaceKey&) const = default;
};

LinkType link_type(const Frame& frame) {
  constexpr std::uint16_t kIpv4 = 0x0800;
  constexpr std::uint16_t kIpv6 = 0x86DD;
  if (frame.bytes == nullptr) return LinkType::raw_ip;
  if (frame.bytes->start == PacketStart::link) return LinkType::ethernet;
  const bool ip = frame.protocol == 0 || frame.protocol == kIpv4 || frame.protocol == kIpv6;
  return ip ? LinkType::raw_ip : LinkType::linux_cooked;
}

std::string interface_name(const model::DeviceRef& device) {
  const std::string netns = device.netns.name.empty() ? "?" : device.netns.name;
  return printable(netns + "/" + (device.ifindex.value == 0 ? "-" : device.name));
}

void add_nft(std::string& text, const model::NftVerdict& nft) {
  text += fmt::format(" nft={}/{}/{}", nft.family, nft.table, nft.chain);
  if (nft.handle != 0) text += fmt::format("#{}", nft.handle);
  std::string verdict = nft.verdict;
  std::ranges::replace(verdict, ' ', ':');
  text += fmt::format(" nft_verdict={}", verdict);
}

/// "hook=… journey=… …": words without spaces, so that `frame.comment contains "queue_mapping=1 "` finds what it
/// should.
std::string comment(const TraceEvent& event) {
  std::string text = fmt::format("hook={} journey={} sequence={} cpu={} queue_mapping={} mark={:#x} len={} gso_segs={}",
                                 event.hook.name, model::journey_text(event.journey), event.sequence, event.cpu,
                                 event.skb.queue_mapping, event.skb.mark, event.skb.len, event.skb.gso_segs);
  if (event.skb.vlan_tci) text += fmt::format(" vlan={}", *event.skb.vlan_tci & 0x0FFFU);
  if (event.ct) text += fmt::format(" ct={}", event.ct->state);
  if (event.nft) add_nft(text, *event.nft);
  if (event.fib) text += fmt::format(" fib_table={} fib_error={}", event.fib->table, event.fib->error);
  if (event.drop) text += fmt::format(" drop={}", event.drop->reason);
  if (event.drop && !event.drop->location.empty()) text += fmt::format(" location={}", event.drop->location);
  if (event.result) text += fmt::format(" result={}", *event.result);
  if (!event.workload.empty()) text += fmt::format(" workload={}", event.workload);
  if (event.clone) text += " clone";
  if (event.last) text += " last";
  return printable(text);
}

std::string changes_text(const FieldChanges& changes) {
  std::string text;
  const auto word = [](const nlohmann::ordered_json& value) {
    return value.is_null() ? "none" : value.is_string() ? value.get<std::string>() : value.dump();
  };
  for (const auto& [field, values] : changes) {
    text +=
        fmt::format("{}{} {} -> {}", text.empty() ? "changed " : ", ", field, word(values.first), word(values.second));
  }
  return printable(text);
}

/// The events of a journey with the bytes that each one's packet had.
void add_frames(const Journey& journey, std::vector<Frame>& frames) {
  JourneyState state;
  const PacketBytes* bytes = nullptr;
  std::uint16_t protocol = 0;
  for (const TraceEvent& event : journey.events) {
    if (event.packet) {
      bytes = &*event.packet;
      protocol = event.skb.protocol;
    }
    frames.push_back({&event, bytes, protocol, changes_text(state.advance(event))});
  }
}

class Capture {
 public:
  Capture(std::ostream& out, std::chrono::nanoseconds wall_clock_offset) : out_(out), offset_(wall_clock_offset) {}

  void begin() {
    Block section(kSectionHeader);
    section.number(std::uint32_t{0x1A2B3C4D})
        .number(std::uint16_t{1})
        .number(std::uint16_t{0})
        .number(std::int64_t{-1});
    section.option(kSectionApplication, "weir").option(kEndOfOptions, "");
    section.write(out_);
  }

  void add(const Frame& frame) {
    const TraceEvent& event = *frame.event;
    const LinkType link = link_type(frame);
    const std::uint32_t interface = number_of(event.device, link);
    std::vector<std::byte> content;
    if (link == LinkType::linux_cooked) content = cooked_header(frame.protocol);
    const auto added = static_cast<std::uint32_t>(content.size());
    if (frame.bytes != nullptr) content.insert(content.end(), frame.bytes->bytes.begin(), frame.bytes->bytes.end());
    const std::uint32_t length = added + (frame.bytes == nullptr ? event.skb.len : frame.bytes->length);
    const auto captured = static_cast<std::uint32_t>(content.size());
    const std::uint64_t time = event.time_ns + static_cast<std::uint64_t>(offset_.count());
    Block packet(kEnhancedPacket);
    packet.number(interface).number(static_cast<std::uint32_t>(time >> 32U)).number(static_cast<std::uint32_t>(time));
    packet.number(captured).number(std::max(length, captured)).bytes(content);
    packet.option(kComment, comment(event));
    if (!frame.changes.empty()) packet.option(kComment, frame.changes);
    packet.option(kEndOfOptions, "").write(out_);
    ++count_.packets;
  }

  [[nodiscard]] const PcapngCount& count() const { return count_; }

 private:
  std::uint32_t number_of(const model::DeviceRef& device, LinkType link) {
    const InterfaceKey key{device.netns.id, device.ifindex.value, interface_name(device), link};
    const auto [place, is_new] = interfaces_.try_emplace(key, static_cast<std::uint32_t>(interfaces_.size()));
    if (is_new) {
      Block description(kInterfaceDescription);
      description.number(static_cast<std::uint16_t>(link)).number(std::uint16_t{0}).number(std::uint32_t{0});
      description.option(kInterfaceName, key.name).option(kInterfaceResolution, "\x09").option(kEndOfOptions, "");
      description.write(out_);
      ++count_.interfaces;
    }
    return place->second;
  }

  /// LINKTYPE_LINUX_SLL: no addresses, only what the packet is.
  static std::vector<std::byte> cooked_header(std::uint16_t protocol) {
    constexpr std::size_t kSize = 16;
    constexpr std::uint16_t kArphrdEther = 1;
    std::vector<std::byte> header(kSize);
    header[3] = static_cast<std::byte>(kArphrdEther);
    header[14] = static_cast<std::byte>(protocol >> 8U);
    header[15] = static_cast<std::byte>(protocol & 0xFFU);
    return header;
  }

  std::ostream& out_;
  std::chrono::nanoseconds offset_;
  std::map<InterfaceKey, std::uint32_t> interfaces_;
  PcapngCount count_;
};

}  // namespace

Result<PcapngCount> write_pcapng(std::ostream& out, std::span<const Journey> journeys,
                                 std::chrono::nanoseconds wall_clock_offset) {
  std::vector<Frame> frames;
  for (const Journey& journey : journeys) {
    if (journey.id != 0) add_frames(journey, frames);
  }
  std::ranges::stable_sort(frames, {}, [](const Frame& frame) { return frame.event->time_ns; });
  Capture capture(out, wall_clock_offset);
  capture.begin();
  for (const Frame& frame : frames) {
    capture.add(frame);
    if (!out) break;
  }
  out.flush();
  if (!out)
    return fail(Errc::failed,
                fmt::format("writing pcapng failed after {} of {} packets", capture.count().packets, frames.size()));
  return capture.count();
}

}  // namespace weir::exporter
