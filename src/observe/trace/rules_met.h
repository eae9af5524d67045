// Which nftables rules packets met, put into their journeys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/trace.h"
#include "observe/trace/nft/reader.h"
#include "observe/trace/nft/switch.h"

namespace weir::observe {

/// Journeys are over some seconds after their last event; what nftables said of them is kept a little longer.
inline constexpr std::uint64_t kRulesKeptNs = 8'000'000'000;

/// What nftables said, by namespace, kept until the journeys are known.
class RulesHeard {
 public:
  void add(std::uint64_t netns, NftTraceMessage message);
  /// Adds an event for each rule, policy and return that this packet met, where it met them.
  void add_to(model::Journey& journey) const;
  /// Drops what was said before this time (CLOCK_MONOTONIC).
  void forget_before(std::uint64_t time_ns);

 private:
  std::map<std::uint64_t, std::deque<NftTraceMessage>> messages_;  ///< by namespace
};

/// Switches nftables' tracing on in some namespaces and hears what it says. Changes the datapath of these namespaces
/// while it lives (see NftTraceSwitch): only on request.
class RulesMet {
 public:
  /// Errors as NftTraceSwitch::on(). Namespaces that went away meanwhile are left out.
  static Result<RulesMet> start(const std::vector<model::NetnsRef>& namespaces, const NftTraceOptions& options);

  using Visitor = std::function<void(std::uint64_t netns, const NftTraceMessage& message)>;
  /// Takes what has come; to be called often.
  Result<void> read(const Visitor& visit);
  /// How often messages were lost because they came too fast.
  [[nodiscard]] std::uint64_t overruns() const;

 private:
  struct Place {
    std::uint64_t netns = 0;
    NftTraceReader reader;
    NftTraceSwitch switched;
  };
  std::vector<Place> places_;
};

/// Adds the events of some messages of one namespace to a journey; those of other packets are passed over. Pure.
void add_rules(model::Journey& journey, std::uint64_t netns, const std::deque<NftTraceMessage>& messages);

}  // namespace weir::observe
