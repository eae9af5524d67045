// The journal: what a plan changed, written down before each change, so that it can be taken back whatever happens.
// The format of a file is described in JOURNAL.md.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/plan.h"
#include "sys/fd.h"

namespace weir::steer {

using Json = nlohmann::ordered_json;

/// Where plans are written down unless somebody says otherwise.
inline constexpr const char* kDefaultJournal = "/var/lib/weir/journal";

/// One change of a plan. The state goes intended → done → undone; a step found `intended` may or may not have happened.
struct JournalStep {
  enum class State : std::uint8_t { intended, done, undone };
  State state = State::intended;
  std::string kind;       ///< which undoer understands `data`: "tc-clsact", "tc-filter"
  model::PlanStep words;  ///< for people
  Json data;              ///< what was there before and what identifies the change
};

/// One applied plan.
struct JournalEntry {
  std::string boot_id;  ///< /proc/sys/kernel/random/boot_id at the time
  std::string created;  ///< UTC, RFC 3339
  std::string kind;     ///< model::Plan::kind
  std::string title;
  model::DeviceRef subject;
  std::vector<JournalStep> steps;  ///< in the order of applying; only those that were at least intended

  /// Name of the file: one plan of a kind for a device at a time.
  [[nodiscard]] std::string file_name() const;
};

/// A file in the journal's directory that cannot be understood.
struct DamagedEntry {
  std::filesystem::path file;
  std::string reason;
};

struct JournalContents {
  std::vector<JournalEntry> entries;  ///< of this boot
  std::vector<JournalEntry> stale;    ///< of earlier boots: the kernel forgot these changes with the restart
  std::vector<DamagedEntry> damaged;
};

/// This boot's id.
Result<std::string> boot_id();

/// Parses one file's text; the error tells what is missing or wrong.
Result<JournalEntry> parse_entry(const std::string& text);
std::string to_text(const JournalEntry& entry);

/// Reads a journal without locking it. A missing directory is an empty journal. Damaged files are listed, not fatal.
Result<JournalContents> read_journal(const std::filesystem::path& directory);

/// The journal opened for changing the system: holds the lock that lets one Weir at a time do so.
class Journal {
 public:
  /// Makes the directory if need be (mode 0700) and locks it; Errc::busy when another process holds it.
  static Result<Journal> open(std::filesystem::path directory);

  /// Writes an entry so that after a crash either the old or the new text is there, complete (write, fsync, rename,
  /// fsync of the directory: Pillai et al., OSDI 2014).
  Result<void> write(const JournalEntry& entry);
  /// Removes an entry's file; a missing one is fine.
  Result<void> remove(const JournalEntry& entry);
  [[nodiscard]] Result<JournalContents> read() const { return read_journal(directory_); }
  [[nodiscard]] const std::filesystem::path& directory() const noexcept { return directory_; }

 private:
  Journal(std::filesystem::path directory, sys::Fd lock) : directory_(std::move(directory)), lock_(std::move(lock)) {}
  std::filesystem::path directory_;
  sys::Fd lock_;  // the directory itself, with flock(2): no lock file stays behind
};

}  // namespace weir::steer
