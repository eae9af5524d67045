// What the parts of `weir trace` and `weir show` share.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "cli/command.h"
#include "model/device.h"
#include "model/paths.h"
#include "model/trace.h"
#include "observe/trace/decode.h"
#include "observe/trace/latency.h"
#include "observe/trace/rules_met.h"
#include "observe/trace/session.h"

namespace weir::cli {

/// How journeys are shown, and which.
struct TraceView {
  std::string filter;  ///< of what was recorded; a live trace has its filter in the kernel
  std::string where;
  std::string slower;  ///< duration; empty: all
  bool json = false;
  bool verbose = false;
  bool latency = false;  ///< instead of journeys, how long their stretches take
  bool paths = false;    ///< instead of journeys, the distinct ways that they are
  std::string html;      ///< with paths: where the picture goes
  std::string watch;     ///< instead of journeys, changes of these fields
};

struct TraceOptions {
  std::vector<std::string> filter;  ///< words of the expression
  std::string profile;
  std::vector<std::string> probes;
  bool drops = false;
  bool stack = false;
  bool nft = false;
  std::string output;
  std::string rotate;
  std::uint32_t max_files = 0;
  bool overwrite = false;
  std::string netns;
  std::vector<std::string> in;  ///< namespaces where programs and rules of ours are put
  std::string device;
  std::string duration;
  std::uint32_t sample = 1;
  std::string ring = "16M";
  std::uint64_t count = 0;  ///< journeys; 0: no limit
  bool list_hooks = false;
  std::string btf_path;
  TraceView view;
};

/// Names of this host, looked up as they are needed: devices that appear later are asked for again.
class LiveNames {
 public:
  static Result<std::unique_ptr<LiveNames>> open(const std::string& btf_path);
  virtual ~LiveNames() = default;
  /// `hooks` of the session; what is returned refers to this object.
  virtual observe::TraceNames names(std::map<std::uint16_t, std::string> hooks) = 0;
  /// To be called as records come: journeys are put into words when they are over, and until then those who sent their
  /// packets may be gone.
  virtual void notice(std::span<const std::byte> record) = 0;
  [[nodiscard]] virtual const model::HostConfig& config() const = 0;
};

/// Takes finished journeys in order, shows those that are wanted or what their stretches took, and keeps the books of
/// what was not.
class JourneyPrinter {
 public:
  static Result<JourneyPrinter> create(const TraceView& view, std::chrono::nanoseconds wall_offset, bool color);
  /// Shows the journey or counts its events as filtered.
  void take(const model::Journey& journey);
  /// The books as they are after what was left out: events of unwanted journeys are filtered ones.
  [[nodiscard]] model::TraceSummary summary(model::TraceSummary from_kernel) const;
  void finish(const model::TraceSummary& summary) const;
  [[nodiscard]] std::uint64_t shown() const { return shown_; }

 private:
  JourneyPrinter() = default;
  TraceView view_;
  std::function<bool(const model::Journey&)> wanted_;
  std::chrono::nanoseconds wall_offset_{};
  bool color_ = false;
  std::uint64_t shown_ = 0;
  std::uint64_t complete_ = 0;
  observe::StretchLatency latency_;
  std::map<std::string, std::uint64_t> unwanted_;  ///< events by hook
  /// The last journeys that were shown: what a clone does much later is a second part of one, not another.
  std::unordered_set<std::uint64_t> recent_;
  std::deque<std::uint64_t> recent_order_;
};

/// Whether a journey is wanted: --where, --slower and the filter of what was recorded.
Result<std::function<bool(const model::Journey&)>> journey_condition(const TraceView& view);

/// --where, --slower, --paths, --html, --watch, --latency, -v and --json.
void add_view_options(CLI::App& command, TraceView& view);

/// Errc::usage for those of them that do not go together.
Result<void> check_view(const TraceView& view);

/// The file of --html, opened before there is anything to write: one that cannot be written is told at once.
Result<std::ofstream> open_page(const TraceView& view);

/// What --paths ends with: text or JSON, and the picture. Puts the numbers of journeys into the books.
Result<Exit> show_paths(const model::PathTree& tree, model::TraceSummary summary, const TraceView& view,
                        std::ofstream& page, const std::string& title);

/// What --watch ends with.
Exit show_changes(const std::vector<observe::WatchedChange>& changes, const observe::TraceNames& names,
                  const model::TraceSummary& summary, const TraceView& view);

/// Events of unwanted journeys are filtered ones. `unwanted`: by name of the hook.
void move_to_filtered(model::TraceSummary& summary, const std::map<std::string, std::uint64_t>& unwanted);

/// "16M", "256k", "4096".
Result<std::size_t> parse_size(const std::string& text, const std::string& option);

/// The live forms of the command.
Result<Exit> trace_journeys(const TraceOptions& options, observe::TraceRequest request);
Result<Exit> trace_recording(const TraceOptions& options, const observe::TraceRequest& request);
Result<Exit> trace_changes(const TraceOptions& options, observe::TraceRequest request);
Result<Exit> trace_paths(const TraceOptions& options, observe::TraceRequest request);

/// Waits for the end of the trace, handing records to `visit`: until the duration is over (nullopt: for ever), SIGINT,
/// or `enough` says so.
Result<void> run_session(observe::TraceSession& session, std::optional<std::chrono::nanoseconds> duration,
                         const observe::TraceSession::Visitor& visit, const std::function<bool()>& enough);

/// Names instead of numbers, and the sums.
Result<model::TraceSummary> summary_of(const observe::TraceSession& session, std::chrono::nanoseconds duration);

/// Says so where rules that packets met were lost.
void note_overruns(const observe::RulesMet& rules, model::TraceSummary& summary);

/// Fields of --watch as a mask; Errc::usage with the nearest names.
Result<std::uint32_t> watch_mask(const std::string& fields);

/// --for as a duration, nullopt when it was not given.
Result<std::optional<std::chrono::nanoseconds>> trace_duration(const TraceOptions& options);

}  // namespace weir::cli
