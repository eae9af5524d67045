#include "observe/trace/rules_met.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <span>

#include "netns/netns.h"
#include "observe/trace/nft/join.h"

namespace weir::observe {

namespace {

/// A message is read a little after the packet met the rule; longer ago than this it is about another packet.
constexpr std::uint64_t kLateNs = 2'000'000'000;
constexpr std::size_t kEthernetBytes = 14;

/// The network header on, as it stood at an event; nothing where it is not known.
std::span<const std::byte> network_bytes(const model::PacketBytes& packet) {
  std::span<const std::byte> bytes = packet.bytes;
  if (packet.start == model::PacketStart::network) return bytes;
  std::size_t skip = kEthernetBytes;
  // Tags within the frame.
  while (bytes.size() > skip && skip + 4 <= bytes.size() && bytes[skip - 2] == std::byte{0x81} &&
         bytes[skip - 1] == std::byte{0}) {
    skip += 4;
  }
  return bytes.size() > skip ? bytes.subspan(skip) : std::span<const std::byte>{};
}

/// Behind which event of the journey the message belongs. Before routing (no oif) the first one that has these headers,
/// after it the last one.
std::optional<std::size_t> place_of(const NftTraceMessage& message, const model::Journey& journey,
                                    std::uint64_t netns) {
  std::optional<std::size_t> found;
  const model::PacketBytes* known = nullptr;
  for (std::size_t index = 0; index < journey.events.size(); ++index) {
    const model::TraceEvent& event = journey.events[index];
    if (event.packet) known = &*event.packet;
    if (known == nullptr || event.device.netns.id != netns || event.drop || event.beside) continue;
    if (!same_packet(message, network_bytes(*known))) continue;
    if (message.packet.oif == 0) return index;
    // What has its queue already has all rules behind it.
    if (found && event.hook.name == "net:net_dev_start_xmit") break;
    found = index;
  }
  return found;
}

model::TraceEvent event_behind(const model::TraceEvent& before, const NftTraceMessage& message) {
  model::TraceEvent event;
  event.time_ns = before.time_ns;
  event.journey = before.journey;
  event.sequence = before.sequence;
  event.branch = before.branch;
  event.cpu = before.cpu;
  event.hook = {0, fmt::format("nft:{}", message.verdict.type)};
  event.device = before.device;
  event.skb.address = before.skb.address;
  event.nft = message.verdict;
  event.beside = true;
  return event;
}

}  // namespace

void add_rules(model::Journey& journey, std::uint64_t netns, const std::deque<NftTraceMessage>& messages) {
  if (journey.events.empty() || journey.id == 0) return;
  const std::uint64_t first = journey.events.front().time_ns;
  const std::uint64_t last = journey.events.back().time_ns;
  std::vector<std::pair<std::size_t, model::TraceEvent>> met;
  for (const NftTraceMessage& message : messages) {
    if (message.time_ns < first || message.time_ns > last + kLateNs) continue;
    const auto place = place_of(message, journey, netns);
    if (place) met.emplace_back(*place, event_behind(journey.events[*place], message));
  }
  // In the order in which the kernel told them, behind the events that they follow.
  std::ranges::stable_sort(met, std::ranges::greater{}, [](const auto& one) { return one.first; });
  for (auto group = met.begin(); group != met.end();) {
    const auto end = std::find_if(group, met.end(), [&](const auto& one) { return one.first != group->first; });
    auto at = journey.events.begin() + static_cast<std::ptrdiff_t>(group->first) + 1;
    for (; group != end; ++group) at = journey.events.insert(at, std::move(group->second)) + 1;
  }
}

void RulesHeard::add(std::uint64_t netns, NftTraceMessage message) {
  messages_[netns].push_back(std::move(message));
}

void RulesHeard::add_to(model::Journey& journey) const {
  for (const auto& [netns, messages] : messages_) add_rules(journey, netns, messages);
}

void RulesHeard::forget_before(std::uint64_t time_ns) {
  for (auto& [netns, messages] : messages_) {
    while (!messages.empty() && messages.front().time_ns < time_ns) messages.pop_front();
  }
}

Result<RulesMet> RulesMet::start(const std::vector<model::NetnsRef>& namespaces, const NftTraceOptions& options) {
  RulesMet rules;
  for (const model::NetnsRef& ref : namespaces) {
    auto ns = netns::Netns::open(fmt::format("id:{}", ref.id));
    if (!ns && ns.error().code == Errc::not_found) continue;
    if (!ns) return pass(std::move(ns), ref.name);
    // First the ear, then the mouth.
    auto reader = NftTraceReader::open(*ns);
    if (!reader) return pass(std::move(reader), ref.name);
    auto switched = NftTraceSwitch::on(*ns, options);
    if (!switched) return pass(std::move(switched), ref.name);
    rules.places_.push_back({ref.id, *std::move(reader), *std::move(switched)});
  }
  return rules;
}

Result<void> RulesMet::read(const Visitor& visit) {
  for (Place& place : places_) {
    auto taken = place.reader.read([&](const NftTraceMessage& message) { visit(place.netns, message); });
    if (!taken) return pass(std::move(taken));
  }
  return {};
}

std::uint64_t RulesMet::overruns() const {
  std::uint64_t sum = 0;
  for (const Place& place : places_) sum += place.reader.overruns();
  return sum;
}

}  // namespace weir::observe
