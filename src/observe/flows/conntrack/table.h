// The conntrack table of one namespace as dumps and events tell it. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <unordered_set>
#include <vector>

#include "model/conntrack.h"
#include "observe/flows/conntrack/message.h"

namespace weir::observe {

class ConntrackTable {
 public:
  /// An entry that is over since this message: see model::ConntrackEntry::over().
  using OverVisitor = std::function<void(const model::ConntrackEntry&)>;

  /// `most`: entries that are kept, in the table and ended.
  ConntrackTable(std::uint64_t netns, std::size_t most) : netns_(netns), most_(most) {}

  /// What the kernel told of a change.
  void take_event(const ConntrackMessage& message, const OverVisitor& over);
  /// A dump: what it does not have is gone, unless events would have told of that.
  void begin_dump() { ++dump_; }
  void take_dumped(const ConntrackMessage& message, const OverVisitor& over);
  void end_dump(const OverVisitor& over);
  /// Events were lost: the next dump decides alone what is gone.
  void distrust_events();
  /// The namespace has gone, and everything with it.
  void end_all(const OverVisitor& over);

  /// Entries, and those that ended since forget_ended().
  void each(const std::function<void(const model::ConntrackEntry&)>& visit) const;
  void forget_ended();
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] std::uint64_t not_kept() const { return not_kept_; }

 private:
  struct Row {
    model::ConntrackEntry entry;
    std::uint32_t dump = 0;       ///< that saw it last
    bool told_by_events = false;  ///< its end will be told: the kernel tells nothing of what began without a listener
  };
  struct Hash {
    std::size_t operator()(const Row& row) const noexcept;
  };
  struct Equal {
    bool operator()(const Row& a, const Row& b) const noexcept;
  };
  using Rows = std::unordered_set<Row, Hash, Equal>;

  Row* find_or_add(const model::ConntrackEntry& entry);
  void end(Row row, const OverVisitor& over);

  std::uint64_t netns_;
  std::size_t most_;
  std::uint32_t dump_ = 0;
  Rows rows_;
  std::vector<model::ConntrackEntry> ended_;
  std::uint64_t not_kept_ = 0;
};

}  // namespace weir::observe
