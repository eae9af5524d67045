#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ranges>

#include "cli/device_argument.h"
#include "cli/queues_fix.h"
#include "cli/session.h"
#include "model/json.h"
#include "steer/executor.h"
#include "steer/queues/plan_queue_fix.h"
#include "steer/queues/tc_changes.h"

namespace weir::cli {

namespace {

struct UndoOptions {
  std::string device;
  std::string netns;
  std::string journal = steer::kDefaultJournal;
  bool apply = false;
  bool json = false;
};

/// A plan that the words mean, and whether a restart has undone it already.
struct Found {
  steer::JournalEntry entry;
  bool stale = false;
};

bool means(const UndoOptions& options, const steer::JournalEntry& entry) {
  if (entry.kind != steer::kQueueFixPlan) return false;
  if (options.device == to_string(entry.subject)) return true;
  return options.device == entry.subject.name && (options.netns.empty() || options.netns == entry.subject.netns.name);
}

/// Devices may have been renamed since, or be named by path or pid: then the living device tells which entry it is.
std::optional<model::DeviceRef> living_device(const UndoOptions& options) {
  const auto config = read_host_config();
  if (!config) return std::nullopt;
  const auto device = find_device(*config, options.device, options.netns);
  return device ? std::optional(*device) : std::nullopt;
}

Error nothing_to_undo(const UndoOptions& options, const steer::JournalContents& contents) {
  Error error{Errc::not_found, fmt::format("nothing of Weir's to undo on {}", options.device), {}, 0};
  for (const steer::JournalEntry& entry : contents.entries) {
    error.hint += error.hint.empty() ? "plans in force: " : ", ";
    error.hint += to_string(entry.subject);
  }
  for (const steer::DamagedEntry& damaged : contents.damaged) {
    if (!error.hint.empty()) error.hint += '\n';
    error.hint += fmt::format("{} {}", damaged.file.string(), damaged.reason);
  }
  return error;
}

Result<Found> find_entry(const UndoOptions& options, const steer::JournalContents& contents) {
  std::vector<Found> found;
  for (const auto& entry : contents.entries) {
    if (means(options, entry)) found.push_back({entry, false});
  }
  if (found.empty()) {
    if (const auto device = living_device(options)) {
      const auto same = std::ranges::find(contents.entries, *device, &steer::JournalEntry::subject);
      if (same != contents.entries.end() && same->kind == steer::kQueueFixPlan) found.push_back({*same, false});
    }
  }
  if (found.empty()) {
    for (const auto& entry : contents.stale) {
      if (means(options, entry)) found.push_back({entry, true});
    }
  }
  if (found.empty()) return std::unexpected(nothing_to_undo(options, contents));
  if (found.size() == 1) return std::move(found.front());
  std::string names;
  for (const Found& one : found) names += (names.empty() ? "" : ", ") + to_string(one.entry.subject);
  return fail(Errc::usage, fmt::format("{} means several devices: {}", options.device, names), "say netns/dev");
}

void print(const UndoOptions& options, const Found& found, const std::vector<std::string>& notes) {
  const std::string name = to_string(found.entry.subject);
  if (options.json) {
    nlohmann::ordered_json document{{"schema", "weir.queues_undo/1"},
                                    {"netns", found.entry.subject.netns.name},
                                    {"dev", found.entry.subject.name},
                                    {"title", found.entry.title},
                                    {"applied_at", found.entry.created},
                                    {"steps", nlohmann::ordered_json::array()},
                                    {"gone_with_restart", found.stale},
                                    {"applied", options.apply},
                                    {"notes", notes}};
    for (const steer::JournalStep& step : found.entry.steps | std::views::reverse) {
      document["steps"].push_back({{"undoes", step.words.what}, {"command", step.words.undo_command}});
    }
    fmt::print("{}\n", model::to_text(document));
    return;
  }
  fmt::print("Undo: {} (applied {})\n", found.entry.title, found.entry.created);
  if (found.stale) {
    fmt::print("  The host has restarted since: the change is gone already.\n");
  } else {
    int number = 0;
    for (const steer::JournalStep& step : found.entry.steps | std::views::reverse) {
      fmt::print("  {}. {}\n", ++number, step.words.undo_command);
    }
  }
  for (const std::string& note : notes) fmt::print("Note: {}.\n", note);
  if (options.apply) {
    fmt::print("Done: {}.\n", found.stale     ? "its record is dropped"
                              : notes.empty() ? name + " is as it was"
                                              : "nothing of the change is left, and its record is dropped");
  } else {
    fmt::print("\nNothing is changed. To do it: weir queues undo {} --apply\n", name);
  }
}

/// Under the lock, so that what was found is what is undone.
Result<std::vector<std::string>> undo(const UndoOptions& options, Found& found) {
  auto journal = steer::Journal::open(options.journal);
  if (!journal) return pass(std::move(journal));
  const auto contents = journal->read();
  if (!contents) return std::unexpected(contents.error());
  auto again = find_entry(options, *contents);
  if (!again) return pass(std::move(again));
  found = *std::move(again);
  if (!found.stale) return steer::undo_entry(*journal, found.entry, steer::tc_undoers());
  if (auto removed = journal->remove(found.entry); !removed) return pass(std::move(removed));
  return std::vector<std::string>{};
}

Result<Exit> run(const UndoOptions& options) {
  const auto contents = steer::read_journal(options.journal);
  if (!contents) return std::unexpected(contents.error());
  auto found = find_entry(options, *contents);
  if (!found) return pass(std::move(found));
  std::vector<std::string> notes;
  if (options.apply) {
    auto undone = undo(options, *found);
    if (!undone) return pass(std::move(undone), "cannot undo " + to_string(found->entry.subject));
    notes = *std::move(undone);
  }
  print(options, *found, notes);
  return Exit::done;
}

}  // namespace

void add_queues_undo(CLI::App& queues, Program& program) {
  auto options = std::make_shared<UndoOptions>();
  CLI::App* command = queues.add_subcommand("undo", "Take `weir queues fix` back: exactly what it added, nothing else");
  add_word_option(*command, "DEV", options->device,
                  "The device that was fixed: dev or netns/dev; it need not exist any more")
      ->required();
  add_word_option(*command, "--netns", options->netns, "Namespace of DEV");
  command->add_flag("--apply", options->apply, "Do it; without it only what would be done is shown");
  command->add_option("--journal", options->journal, "Where applied plans are written down")
      ->type_name("DIR")
      ->default_str(options->journal);
  add_json_option(*command, options->json);
  command->footer("Examples:\n  weir queues undo nic0\n  weir queues undo weir-host/nic0 --apply");
  command->callback([options, &program] { program.action = [options] { return run(*options); }; });
}

}  // namespace weir::cli
