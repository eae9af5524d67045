#include "steer/executor.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace weir::steer {

namespace {

void tell(const Progress& progress, const JournalStep& step, Phase phase) {
  if (progress) progress(step.words, phase);
}

Result<void> apply_one(Journal& journal, JournalEntry& entry, Change& change, const Progress& progress) {
  auto data = change.prepare();
  if (!data) return pass(std::move(data));
  entry.steps.push_back({JournalStep::State::intended, change.kind(), change.words(), *std::move(data)});
  if (auto written = journal.write(entry); !written) return written;
  tell(progress, entry.steps.back(), Phase::recorded);
  if (auto applied = change.apply(); !applied) {
    entry.steps.back().state = JournalStep::State::undone;  // never happened: undoing must not look for it
    return applied;
  }
  tell(progress, entry.steps.back(), Phase::changed);
  entry.steps.back().state = JournalStep::State::done;
  if (auto written = journal.write(entry); !written) return written;
  tell(progress, entry.steps.back(), Phase::settled);
  return {};
}

Result<void> refuse_second(const Journal& journal, const JournalEntry& entry) {
  const auto contents = journal.read();
  if (!contents) return std::unexpected(contents.error());
  const auto same = [&entry](const JournalEntry& other) { return other.file_name() == entry.file_name(); };
  if (std::ranges::any_of(contents->entries, same)) {
    return fail(Errc::busy, "this plan is already applied to " + to_string(entry.subject), "undo it first");
  }
  for (const DamagedEntry& damaged : contents->damaged) {
    if (damaged.file.filename() != entry.file_name()) continue;
    // It would be overwritten, and with it the only account of what was changed.
    return fail(Errc::failed, fmt::format("{} {}", damaged.file.string(), damaged.reason),
                "look at the file, take its changes back by hand, then remove it");
  }
  return {};
}

}  // namespace

Result<JournalEntry> apply_plan(Journal& journal, const model::Plan& plan, Changes& changes, const Undoers& undoers,
                                const Clock& clock, const Progress& progress) {
  auto boot = boot_id();
  if (!boot) return pass(std::move(boot));
  JournalEntry entry{*std::move(boot), format_utc(clock.realtime()), plan.kind, plan.title, plan.subject, {}};
  if (auto free = refuse_second(journal, entry); !free) return pass(std::move(free));
  for (const auto& change : changes) {
    auto applied = apply_one(journal, entry, *change, progress);
    if (applied) continue;
    Error error = std::move(applied).error();
    if (auto undone = undo_entry(journal, entry, undoers); !undone) {
      error.message += "; and taking the steps before it back failed: " + undone.error().message;
    } else {
      error.message += "; nothing is changed";
    }
    return std::unexpected(std::move(error));
  }
  return entry;
}

Result<std::vector<std::string>> undo_entry(Journal& journal, JournalEntry entry, const Undoers& undoers,
                                            const Progress& progress) {
  std::vector<std::string> notes;
  for (auto step = entry.steps.rbegin(); step != entry.steps.rend(); ++step) {
    if (step->state == JournalStep::State::undone) continue;
    const auto undoer = undoers.find(step->kind);
    if (undoer == undoers.end()) return fail(Errc::failed, "this Weir cannot undo a step of kind " + step->kind);
    auto note = undoer->second(*step);
    if (!note) return pass(std::move(note));
    if (!note->empty()) notes.push_back(*std::move(note));
    tell(progress, *step, Phase::changed);
    step->state = JournalStep::State::undone;
    if (auto written = journal.write(entry); !written) return pass(std::move(written));
    tell(progress, *step, Phase::settled);
  }
  if (auto removed = journal.remove(entry); !removed) return pass(std::move(removed));
  return notes;
}

}  // namespace weir::steer
