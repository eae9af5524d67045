// Applies plans and takes them back, one journalled step at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/plan.h"
#include "steer/journal.h"

namespace weir::steer {

/// One reversible change to the system.
class Change {
 public:
  virtual ~Change() = default;
  /// Names the undoer of this kind of change.
  [[nodiscard]] virtual std::string kind() const = 0;
  [[nodiscard]] virtual model::PlanStep words() const = 0;
  /// Gets everything ready without changing the system, and returns what an undo needs to recognise the change as ours
  /// and to restore what was there. It is on disk before apply() is called.
  virtual Result<Json> prepare() = 0;
  /// An error means that nothing was changed.
  virtual Result<void> apply() = 0;
};
using Changes = std::vector<std::unique_ptr<Change>>;

/// Takes one recorded change back. The step may be `intended` only: then it may never have happened, which is fine.
/// Returns a sentence for people when there was something else to say than "undone"; an error when what is there now is
/// not what was installed, in which case nothing was touched.
using Undoer = std::function<Result<std::string>(const JournalStep&)>;
using Undoers = std::map<std::string, Undoer, std::less<>>;

/// Told as a plan goes on: for progress on a terminal.
enum class Phase : std::uint8_t {
  recorded,  ///< the intention is on disk
  changed,   ///< the system is changed
  settled,   ///< that it was changed is on disk
};
using Progress = std::function<void(const model::PlanStep&, Phase)>;

/// Applies the changes of a plan in order. When one fails, those before it are undone, nothing stays in the journal,
/// and the error says so. Errc::busy when the journal already has a plan of this kind for this device.
Result<JournalEntry> apply_plan(Journal& journal, const model::Plan& plan, Changes& changes, const Undoers& undoers,
                                const Clock& clock, const Progress& progress = {});

/// Undoes an entry's steps in reverse and removes it from the journal. Returns what is worth telling. On error the
/// entry stays, with the steps that are undone marked: calling again continues.
Result<std::vector<std::string>> undo_entry(Journal& journal, JournalEntry entry, const Undoers& undoers,
                                            const Progress& progress = {});

}  // namespace weir::steer
