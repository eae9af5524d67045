// What all actors count and what they found broken.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include "netns/torture/torture.h"

namespace weir::netns::torture {

using Count = std::atomic<std::uint64_t>;

class Ledger {
 public:
  Count switches{0};
  Count sockets_checked{0};
  Count homecomings_checked{0};
  Count echoes_checked{0};
  Count namespaces_made{0};
  Count ready_checked{0};
  Count faults_injected{0};
  Count errors_expected{0};
  Count wrong_namespace{0};
  Count repeated_identities{0};
  Count false_ready{0};

  /// Descriptors run out on purpose between these two: their lack explains an error meanwhile.
  void begin_scarcity() { ++scarcity_; }
  void end_scarcity() { ++scarcity_; }
  /// Odd while they are scarce; to be given to was_scarce_since().
  [[nodiscard]] std::uint64_t scarcity() const { return scarcity_; }
  [[nodiscard]] bool was_scarce_since(std::uint64_t then) const { return then % 2 == 1 || scarcity_ != then; }

  void broken(BrokenInvariant found);
  void not_tried(std::string what);
  /// Notes an id that was just given; false when it was given before.
  bool new_identity(std::uint64_t id);

  [[nodiscard]] bool any_broken() const { return broken_count_.load() > 0; }
  /// Puts counts and findings into the report.
  void fill(TortureReport& report) const;

 private:
  Count scarcity_{0};
  Count broken_count_{0};
  mutable std::mutex mutex_;
  std::vector<BrokenInvariant> broken_;
  std::vector<std::string> not_tried_;
  std::unordered_set<std::uint64_t> identities_;
};

}  // namespace weir::netns::torture
