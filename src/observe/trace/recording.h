// Traces as recordings: raw records of the kernel with the names that they need, so that they can be read on any
// machine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/trace.h"
#include "observe/trace/decode.h"
#include "observe/trace/record/writer.h"
#include "observe/trace/rules_met.h"

namespace weir::observe {

/// How much later than an event the rules that its packet met there may stand in a recording, by the times of events:
/// much less than what JourneyLimits has a journey wait for what may follow.
inline constexpr std::uint64_t kRulesLateNs = 20'000'000;

/// What a recording says of itself.
struct RecordingInfo {
  std::string host;
  std::string kernel;
  std::string filter;
  std::chrono::nanoseconds wall_clock_offset{};  ///< what must be added to times of events to have UTC
  std::map<std::uint16_t, std::string> hooks;
};

/// Writes a trace. Names are asked of `names` once, when they are first needed, and kept beside the events.
class TraceRecorder {
 public:
  /// Errors as RecordingWriter::create(). `names` must outlive the recorder.
  static Result<TraceRecorder> create(const std::string& path, const RecordingOptions& options,
                                      const RecordingInfo& info, const TraceNames& names);

  /// One record of the kernel. A record that cannot be read is an error and is not written.
  Result<void> add(std::span<const std::byte> record);
  /// A rule that a packet met in this namespace. Such records must come before those of events that are more than
  /// kRulesLateNs younger than the event they belong to.
  Result<void> add_rule(std::uint64_t netns, const NftTraceMessage& message);
  Result<void> flush_if_due(std::chrono::nanoseconds now) { return writer_.flush_if_due(now); }
  /// Writes the books and closes. To be called at the end of a trace; without it a reader knows no books.
  Result<void> close(const model::TraceSummary& summary);
  [[nodiscard]] RecordingProgress progress() const { return writer_.progress(); }

 private:
  TraceRecorder(RecordingWriter writer, const TraceNames& names) : writer_(std::move(writer)), names_(&names) {}
  Result<void> name_device(std::uint64_t netns, std::uint32_t ifindex);
  Result<void> name_symbol(std::uint64_t address);
  Result<void> name_reason(std::uint32_t number);
  Result<void> name_workload(const weir_trace_event& head);
  RecordingWriter writer_;
  const TraceNames* names_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> devices_;
  std::set<std::uint64_t> symbols_;
  std::set<std::uint32_t> reasons_;
  /// What was written of an owner, and from which event on it is asked for again: it may not be known at first.
  struct WrittenOwner {
    std::uint64_t key = 0;
    std::uint64_t ask_again_ns = 0;
    model::WorkloadRef workload;
  };
  std::map<std::pair<std::uint64_t, std::uint64_t>, WrittenOwner> owners_;
};

/// Reads a trace that was recorded: one file, or all files of a rotated recording.
class TraceReplay {
 public:
  /// Errors as RecordingReader::open(); Errc::failed when the file is a recording, but of nothing that this Weir knows.
  static Result<TraceReplay> open(const std::string& path);
  TraceReplay(TraceReplay&&) noexcept;
  TraceReplay& operator=(TraceReplay&&) noexcept;
  ~TraceReplay();

  [[nodiscard]] const RecordingInfo& info() const;
  /// Names as far as the recording has been read.
  [[nodiscard]] const TraceNames& names() const;
  /// Calls `visit` for each record of the kernel, in order, until it returns false.
  Result<void> read(const std::function<bool(std::span<const std::byte>)>& visit);
  /// The rules that packets met, as far as the recording has been read.
  [[nodiscard]] RulesHeard& rules();
  /// The books, if the recording was closed.
  [[nodiscard]] const std::optional<model::TraceSummary>& summary() const;
  /// What could not be read, for people.
  [[nodiscard]] const std::vector<std::string>& damages() const;

 private:
  struct State;
  explicit TraceReplay(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::observe
