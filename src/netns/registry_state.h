// Inside netns only: which name stands for which namespace, and what of that has changed. Pure: no OS.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir::netns::detail {

/// Names and ids, with a memory of what changed since the changes were last taken.
class NameTable {
 public:
  struct Change {
    std::uint64_t id = 0;
    std::vector<std::string> before;  ///< its names then, sorted
    std::vector<std::string> after;
  };

  /// `path` stands for that namespace now, or for none.
  void set(const std::string& path, std::optional<std::uint64_t> id);
  [[nodiscard]] std::optional<std::uint64_t> id_of(const std::string& path) const;
  [[nodiscard]] bool knows(std::uint64_t id) const { return by_id_.contains(id); }
  /// Every path that stands for a namespace; those below a directory, when one is given.
  [[nodiscard]] std::vector<std::string> paths(const std::string& directory = {}) const;
  /// What differs from the last call, ids that lost all names first. What changed and changed back is not told.
  std::vector<Change> take_changes();

 private:
  std::vector<std::string> names_of(std::uint64_t id) const;
  void touch(std::uint64_t id);
  std::map<std::string, std::uint64_t> by_path_;
  std::map<std::uint64_t, std::set<std::string>> by_id_;
  std::map<std::uint64_t, std::vector<std::string>> touched_;
};

}  // namespace weir::netns::detail
