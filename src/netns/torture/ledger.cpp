#include "netns/torture/ledger.h"

#include <algorithm>

namespace weir::netns::torture {

void Ledger::broken(BrokenInvariant found) {
  constexpr std::size_t kMostKept = 100;
  ++broken_count_;
  const std::scoped_lock lock(mutex_);
  if (broken_.size() < kMostKept) broken_.push_back(std::move(found));
}

void Ledger::not_tried(std::string what) {
  const std::scoped_lock lock(mutex_);
  if (std::ranges::find(not_tried_, what) == not_tried_.end()) not_tried_.push_back(std::move(what));
}

bool Ledger::new_identity(std::uint64_t id) {
  const std::scoped_lock lock(mutex_);
  return identities_.insert(id).second;
}

void Ledger::fill(TortureReport& report) const {
  report.switches = switches;
  report.sockets_checked = sockets_checked;
  report.homecomings_checked = homecomings_checked;
  report.echoes_checked = echoes_checked;
  report.namespaces_made = namespaces_made;
  report.ready_checked = ready_checked;
  report.faults_injected = faults_injected;
  report.errors_expected = errors_expected;
  report.wrong_namespace = wrong_namespace;
  report.repeated_identities = repeated_identities;
  report.false_ready = false_ready;
  report.broken = broken_count_;
  const std::scoped_lock lock(mutex_);
  report.invariants_broken = broken_;
  report.not_tried = not_tried_;
}

}  // namespace weir::netns::torture
