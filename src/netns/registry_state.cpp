#include "netns/registry_state.h"

#include <algorithm>

namespace weir::netns::detail {

std::vector<std::string> NameTable::names_of(std::uint64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? std::vector<std::string>{}
                               : std::vector<std::string>(found->second.begin(), found->second.end());
}

void NameTable::touch(std::uint64_t id) {
  if (!touched_.contains(id)) touched_.emplace(id, names_of(id));
}

void NameTable::set(const std::string& path, std::optional<std::uint64_t> id) {
  const auto known = by_path_.find(path);
  if (known == by_path_.end() ? !id : id == known->second) return;
  if (known != by_path_.end()) {
    touch(known->second);
    const auto paths = by_id_.find(known->second);
    paths->second.erase(path);
    if (paths->second.empty()) by_id_.erase(paths);
    by_path_.erase(known);
  }
  if (!id) return;
  touch(*id);
  by_path_[path] = *id;
  by_id_[*id].insert(path);
}

std::optional<std::uint64_t> NameTable::id_of(const std::string& path) const {
  const auto known = by_path_.find(path);
  return known == by_path_.end() ? std::nullopt : std::optional(known->second);
}

std::vector<std::string> NameTable::paths(const std::string& directory) const {
  std::vector<std::string> all;
  const std::string prefix = directory.empty() ? "" : directory + "/";
  for (auto at = by_path_.lower_bound(prefix); at != by_path_.end() && at->first.starts_with(prefix); ++at) {
    all.push_back(at->first);
  }
  return all;
}

std::vector<NameTable::Change> NameTable::take_changes() {
  std::vector<Change> changes;
  for (auto& [id, before] : touched_) {
    Change change{id, std::move(before), names_of(id)};
    if (change.before != change.after) changes.push_back(std::move(change));
  }
  touched_.clear();
  // A name that went over to another namespace is let go before it is taken.
  const auto rank = [](const Change& change) { return change.after.empty() ? 0 : change.before.empty() ? 2 : 1; };
  std::ranges::stable_sort(changes, {}, rank);
  return changes;
}

}  // namespace weir::netns::detail
