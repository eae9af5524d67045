// weir show FILE and weir convert FILE: traces that were recorded.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "cli/command.h"
#include "cli/trace.h"
#include "export/json_lines.h"
#include "export/pcapng.h"
#include "export/perfetto.h"
#include "observe/trace/journeys.h"
#include "observe/trace/paths.h"
#include "observe/trace/recording.h"
#include "observe/trace/recount.h"

namespace weir::cli {

namespace {

struct ShowOptions {
  std::string file;
  std::vector<std::string> filter;
  TraceView view;
};

struct ConvertOptions {
  std::string file;
  std::vector<std::string> filter;
  std::string to;
  std::string output;
  bool overwrite = false;
  TraceView view;
};

/// Given a journey and the records that it was made from; false: that was enough.
using TakeJourney = std::function<bool(const observe::RawJourney& raw, const model::Journey& journey)>;

/// Reads all journeys of a recording, in the order in which they are over, as the live trace does.
Result<void> replay_journeys(observe::TraceReplay& replay, const TakeJourney& take) {
  observe::JourneyBuilder builder;
  std::optional<Error> broken;
  bool enough = false;
  const auto give = [&](const std::vector<observe::RawJourney>& journeys) {
    for (const observe::RawJourney& raw : journeys) {
      auto journey = observe::build_journey(raw, replay.names());
      if (!journey) {
        broken = journey.error();
        return;
      }
      replay.rules().add_to(*journey);
      if (!enough && !take(raw, *journey)) enough = true;
    }
  };
  auto read = replay.read([&](std::span<const std::byte> record) {
    const auto head = observe::record_head(record);
    if (auto added = builder.add(record); !added) broken = added.error();
    if (!broken && head) {
      give(builder.take_finished(head->time_ns));
      if (head->time_ns > observe::kRulesKeptNs) replay.rules().forget_before(head->time_ns - observe::kRulesKeptNs);
    }
    return !broken && !enough;
  });
  if (!read) return read;
  if (!broken) give(builder.take_all());
  if (broken) return std::unexpected(std::move(*broken));
  return {};
}

using EventCounts = std::map<std::string, std::uint64_t>;  // by hook

void count_events(EventCounts& events, const model::Journey& journey) {
  for (const model::TraceEvent& event : journey.events) {
    if (!event.nft) ++events[event.hook.name];  // rules are no firings of a hook
  }
}

/// The books of the recording; of one that was not closed what was read of it.
model::TraceSummary books_of(const observe::TraceReplay& replay, const EventCounts& events) {
  if (replay.summary()) return *replay.summary();
  model::TraceSummary summary;
  for (const auto& [hook, count] : events) summary.hooks[hook] = {.seen = count, .emitted = count};
  summary.notes.emplace_back("the recording was not closed: these are the books of what is in the file");
  return summary;
}

void tell_damages(const observe::TraceReplay& replay) {
  for (const std::string& damage : replay.damages()) fmt::print(stderr, "weir: {}\n", damage);
}

/// What stands beside packets is counted by neither --paths nor --watch, and in a live trace filtered.
void add_beside(EventCounts& unwanted, const observe::Recount& recount, const observe::TraceNames& names) {
  for (const auto& [hook, events] : recount.beside()) {
    const auto name = names.hooks.find(hook);
    unwanted[name == names.hooks.end() ? fmt::format("hook#{}", hook) : name->second] += events;
  }
}

/// --paths and --watch: counted from the records of the journeys that are wanted.
Result<Exit> show_counts(observe::TraceReplay& replay, const std::string& file, const TraceView& view) {
  auto wanted = journey_condition(view);
  if (!wanted) return pass(std::move(wanted));
  auto mask = view.watch.empty() ? Result<std::uint32_t>(0U) : watch_mask(view.watch);
  if (!mask) return pass(std::move(mask));
  auto page = open_page(view);
  if (!page) return pass(std::move(page));
  observe::Recount recount(*mask);
  EventCounts events;
  EventCounts unwanted;
  std::optional<Error> broken;
  auto read = replay_journeys(replay, [&](const observe::RawJourney& raw, const model::Journey& journey) {
    count_events(events, journey);
    if (!recount.knows(raw.id) && !(*wanted)(journey)) {
      count_events(unwanted, journey);
    } else if (auto added = recount.add(raw); !added) {
      broken = added.error();
    }
    return !broken;
  });
  if (!read) return pass(std::move(read));
  if (broken) return std::unexpected(std::move(*broken));
  add_beside(unwanted, recount, replay.names());
  model::TraceSummary summary = books_of(replay, events);
  move_to_filtered(summary, unwanted);
  tell_damages(replay);
  if (view.paths) {
    const auto tree = observe::build_paths(recount.paths(), recount.lost_steps(), replay.names());
    return show_paths(tree, std::move(summary), view, *page,
                      fmt::format("weir show {} --paths{}{}", file, view.filter.empty() ? "" : ": ", view.filter));
  }
  if (recount.lost_steps() != 0) {
    summary.notes.push_back(
        fmt::format("{} events are missing: what changed there is not counted", recount.lost_steps()));
  }
  return show_changes(recount.changes(), replay.names(), summary, view);
}

Result<Exit> show(const ShowOptions& options) {
  if (auto checked = check_view(options.view); !checked) return pass(std::move(checked));
  auto replay = observe::TraceReplay::open(options.file);
  if (!replay) return pass(std::move(replay));
  TraceView view = options.view;
  view.filter = fmt::format("{}", fmt::join(options.filter, " "));
  if (view.paths || !view.watch.empty()) return show_counts(*replay, options.file, view);
  auto printer = JourneyPrinter::create(view, replay->info().wall_clock_offset, isatty(STDOUT_FILENO) == 1);
  if (!printer) return pass(std::move(printer));
  EventCounts events;
  auto read = replay_journeys(*replay, [&](const observe::RawJourney&, const model::Journey& journey) {
    count_events(events, journey);
    printer->take(journey);
    return static_cast<bool>(std::cout);
  });
  if (!read) return pass(std::move(read));
  printer->finish(printer->summary(books_of(*replay, events)));
  tell_damages(*replay);
  return Exit::done;
}

Result<void> write_as(const std::string& format, std::ostream& out, std::span<const model::Journey> journeys,
                      const observe::TraceReplay& replay) {
  const auto offset = replay.info().wall_clock_offset;
  if (format == "pcapng") {
    auto written = exporter::write_pcapng(out, journeys, offset);
    if (!written) return pass(std::move(written));
  } else if (format == "perfetto") {
    auto written = exporter::write_perfetto(out, journeys, offset);
    if (!written) return pass(std::move(written));
  } else {
    const model::TraceSummary* summary = replay.summary() ? &*replay.summary() : nullptr;
    auto written = exporter::write_json_lines(out, journeys, offset, summary);
    if (!written) return pass(std::move(written));
  }
  return {};
}

/// FILE.weir → FILE.pcapng, FILE.json, FILE.perfetto.json.
std::string output_name(const ConvertOptions& options) {
  if (!options.output.empty()) return options.output;
  std::string stem = options.file;
  if (stem.ends_with(".weir")) stem.resize(stem.size() - 5);
  return stem + (options.to == "pcapng" ? ".pcapng" : options.to == "json" ? ".json" : ".perfetto.json");
}

Result<Exit> convert(const ConvertOptions& options) {
  const std::vector<std::string> formats{"pcapng", "json", "perfetto"};
  if (std::ranges::find(formats, options.to) == formats.end()) {
    return fail(Errc::usage, fmt::format("--to {}: no such format", options.to), suggest(options.to, formats));
  }
  auto replay = observe::TraceReplay::open(options.file);
  if (!replay) return pass(std::move(replay));
  TraceView view = options.view;
  view.filter = fmt::format("{}", fmt::join(options.filter, " "));
  auto wanted = journey_condition(view);
  if (!wanted) return pass(std::move(wanted));
  std::vector<model::Journey> journeys;
  auto read = replay_journeys(*replay, [&](const observe::RawJourney&, const model::Journey& journey) {
    if ((*wanted)(journey)) journeys.push_back(journey);
    return true;
  });
  if (!read) return pass(std::move(read));
  const std::string name = output_name(options);
  if (name == "-") {
    if (auto written = write_as(options.to, std::cout, journeys, *replay); !written) return pass(std::move(written));
    tell_damages(*replay);
    return Exit::done;
  }
  if (!options.overwrite && ::access(name.c_str(), F_OK) == 0) {
    return fail(Errc::usage, name + " exists already", "give another name with -o, or --overwrite");
  }
  std::ofstream out(name, std::ios::binary | std::ios::trunc);
  if (!out) return fail_errno(errno, name);
  if (auto written = write_as(options.to, out, journeys, *replay); !written) return pass(std::move(written), name);
  out.close();
  if (!out) return fail(Errc::failed, name + " could not be written whole", "is the disk full?");
  tell_damages(*replay);
  std::cout << fmt::format("{}: {} journeys\n", name, journeys.size());
  return Exit::done;
}

}  // namespace

void add_show(CLI::App& app, Program& program) {
  auto options = std::make_shared<ShowOptions>();
  CLI::App* command = app.add_subcommand("show", "Show a recorded trace, with the same filters");
  add_word_option(*command, "FILE", options->file, "What weir trace -o wrote")->required();
  command->add_option("FILTER", options->filter, "Which packets, in the language of tcpdump(8)");
  add_view_options(*command, options->view);
  command->callback([options, &program] { program.action = [options] { return show(*options); }; });
}

void add_convert(CLI::App& app, Program& program) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "A recorded trace for Wireshark, Perfetto or a script");
  add_word_option(*command, "FILE", options->file, "What weir trace -o wrote")->required();
  command->add_option("FILTER", options->filter, "Which packets, in the language of tcpdump(8)");
  add_word_option(*command, "--to", options->to, "pcapng, json or perfetto")->required();
  add_word_option(*command, "-o,--output", options->output, "Where to; - is the standard output")->type_name("FILE");
  command->add_flag("--overwrite", options->overwrite, "Replace a file of that name");
  add_word_option(*command, "--where", options->view.where, "Only journeys with an event for which this holds");
  add_word_option(*command, "--slower", options->view.slower, "Only journeys that take longer (1ms)");
  command->callback([options, &program] { program.action = [options] { return convert(*options); }; });
}

}  // namespace weir::cli
