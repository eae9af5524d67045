// weir trace -o FILE: records instead of showing.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/render_trace.h"
#include "cli/session.h"
#include "cli/trace.h"
#include "model/json.h"
#include "model/trace_json.h"
#include "observe/trace/recording.h"

namespace weir::cli {

namespace {

Result<observe::RecordingOptions> recording_options(const TraceOptions& options) {
  observe::RecordingOptions recording;
  recording.overwrite = options.overwrite;
  recording.max_files = options.max_files;
  if (!options.rotate.empty()) {
    const auto rotate = parse_size(options.rotate, "--rotate");
    if (!rotate) return std::unexpected(rotate.error());
    recording.rotate_bytes = *rotate;
  } else if (options.max_files != 0) {
    return fail(Errc::usage, "--max-files keeps rotated files: give --rotate SIZE too");
  }
  return recording;
}

/// Where the recording has got to, once it is closed.
void tell_recorded(const TraceOptions& options, const observe::RecordingProgress& progress,
                   const model::TraceSummary& summary) {
  if (options.view.json) {
    auto document = model::to_json(summary);
    document["recording"] = {{"file", options.output},
                             {"records", progress.records},
                             {"bytes", progress.file_bytes},
                             {"files", progress.files}};
    std::cout << model::to_text(document, -1) << '\n';
    return;
  }
  std::cout << fmt::format("{}: {} records, {} bytes in {} file{}\n", options.output, progress.records,
                           progress.file_bytes, progress.files, progress.files == 1 ? "" : "s")
            << render_summary(summary, options.view.verbose) << "next: weir show " << options.output << '\n';
}

}  // namespace

Result<Exit> trace_recording(const TraceOptions& options, const observe::TraceRequest& request) {
  const auto duration = trace_duration(options);
  if (!duration) return std::unexpected(duration.error());
  const auto recording = recording_options(options);
  if (!recording) return std::unexpected(recording.error());
  if (!options.view.where.empty() || !options.view.slower.empty()) {
    return fail(Errc::usage, "--where and --slower choose what is shown: a recording has all, give them to weir show");
  }
  auto live = LiveNames::open(options.btf_path);
  if (!live) return pass(std::move(live));
  const auto begin = std::chrono::steady_clock::now();
  auto session = observe::TraceSession::start(request);
  if (!session) return pass(std::move(session));
  std::optional<observe::RulesMet> rules;
  if (options.nft) {
    auto started = observe::RulesMet::start(request.nf_namespaces, {});
    if (!started) return pass(std::move(started), "--nft");
    rules.emplace(*std::move(started));
  }
  const observe::TraceNames names = (*live)->names(session->hooks());
  const observe::RecordingInfo info{.host = (*live)->config().hostname,
                                    .kernel = (*live)->config().kernel,
                                    .filter = request.filter,
                                    .wall_clock_offset = wall_clock_offset(),
                                    .hooks = session->hooks()};
  auto recorder = observe::TraceRecorder::create(options.output, *recording, info, names);
  if (!recorder) return pass(std::move(recorder), "-o");
  fmt::print(stderr, "tracing at {} hooks into {}{}\n", session->hooks().size(), options.output,
             *duration ? "" : ", Ctrl-C ends it");
  std::optional<Error> broken;
  const auto keep = [&](const Result<void>& done) {
    if (!done && !broken) broken = done.error();
  };
  const auto read_rules = [&] {
    if (!rules || broken) return;
    keep(rules->read([&](std::uint64_t netns, const observe::NftTraceMessage& message) {
      if (!broken) keep(recorder->add_rule(netns, message));
    }));
  };
  std::uint64_t rules_read_ns = 0;
  const auto visit = [&](std::span<const std::byte> record) {
    if (broken) return;
    // While the ring is never empty the loop does not come round: then it is the events that say how late it is.
    const auto head = observe::record_head(record);
    if (rules && head && head->time_ns > rules_read_ns + observe::kRulesLateNs) {
      rules_read_ns = head->time_ns;
      read_rules();
    }
    if (!broken) keep(recorder->add(record));
  };
  const auto enough = [&] {
    read_rules();
    if (!broken) {
      const auto now = std::chrono::steady_clock::now().time_since_epoch();
      if (auto flushed = recorder->flush_if_due(now); !flushed) broken = flushed.error();
    }
    return broken.has_value();
  };
  if (auto ran = run_session(*session, *duration, visit, enough); !ran) return pass(std::move(ran));
  read_rules();
  auto summary = summary_of(*session, std::chrono::steady_clock::now() - begin);
  if (!summary) return pass(std::move(summary));
  if (rules) note_overruns(*rules, *summary);
  if (broken) return std::unexpected(std::move(*broken));
  if (auto closed = recorder->close(*summary); !closed) return pass(std::move(closed));
  tell_recorded(options, recorder->progress(), *summary);
  return Exit::done;
}

}  // namespace weir::cli
