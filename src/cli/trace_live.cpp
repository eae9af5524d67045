// weir trace on a live host: the loop, the names, the journeys.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <optional>

#include "base/units.h"
#include "cli/session.h"
#include "cli/trace.h"
#include "observe/trace/drop_reasons.h"
#include "observe/trace/journeys.h"
#include "observe/trace/rules_met.h"
#include "observe/trace/symbols.h"
#include "observe/workloads/workloads.h"
#include "sys/clock.h"
#include "sys/signal.h"

namespace weir::cli {

namespace {

constexpr std::chrono::milliseconds kLookEvery{50};
/// Reading the configuration of all namespaces again because of one unknown device costs; not more often than this.
constexpr std::chrono::seconds kAskAgainAfter{1};

class HostNames final : public LiveNames {
 public:
  HostNames(model::HostConfig config, observe::DropReasons reasons)
      : config_(std::move(config)), reasons_(std::move(reasons)) {
    index();
  }

  observe::TraceNames names(std::map<std::uint16_t, std::string> hooks) override {
    return {.hooks = std::move(hooks),
            .device = [this](std::uint64_t netns, std::uint32_t ifindex) { return device(netns, ifindex); },
            .drop_reason = [this](std::uint32_t number) { return reasons_.name(number); },
            .symbol = [this](std::uint64_t address) { return symbol(address); },
            .workload = [this](std::uint64_t cgroup, std::uint64_t netns) { return workloads_.of(cgroup, netns); }};
  }
  void notice(std::span<const std::byte> record) override {
    if (const auto head = observe::record_head(record)) workloads_.of(head->cgroup, head->netns);
  }
  const model::HostConfig& config() const override { return config_; }

 private:
  void index() {
    for (const model::DeviceConfig& device : config_.devices) {
      devices_[{device.ref.netns.id, device.ref.ifindex.value}] = device.ref;
      netns_[device.ref.netns.id] = device.ref.netns.name;
    }
    asked_ = std::chrono::steady_clock::now();
  }

  model::DeviceRef device(std::uint64_t netns, std::uint32_t ifindex) {
    if (const auto found = devices_.find({netns, ifindex}); found != devices_.end()) return found->second;
    if (ifindex != 0 && std::chrono::steady_clock::now() - asked_ > kAskAgainAfter) {
      if (auto again = read_host_config()) config_ = *std::move(again);
      index();
      if (const auto found = devices_.find({netns, ifindex}); found != devices_.end()) return found->second;
    }
    const auto name = netns_.find(netns);
    return {.netns = {netns, name == netns_.end() ? fmt::format("id:{}", netns) : name->second},
            .ifindex = IfIndex{ifindex},
            .name = ifindex == 0 ? std::string("-") : fmt::format("if{}", ifindex)};
  }

  std::string symbol(std::uint64_t address) {
    if (!symbols_) symbols_ = observe::Symbols::load();
    return symbols_->name(address);
  }

  model::HostConfig config_;
  observe::DropReasons reasons_;
  std::map<std::pair<std::uint64_t, std::uint32_t>, model::DeviceRef> devices_;
  std::map<std::uint64_t, std::string> netns_;
  std::chrono::steady_clock::time_point asked_;
  observe::Workloads workloads_;
  std::optional<observe::Symbols> symbols_;  // 10 MB of text: read when the first address is named
};

std::uint64_t monotonic_ns() {
  return static_cast<std::uint64_t>(sys::SystemClock{}.monotonic().count());
}

}  // namespace

Result<std::unique_ptr<LiveNames>> LiveNames::open(const std::string& btf_path) {
  auto config = read_host_config();
  if (!config) return pass(std::move(config));
  return std::make_unique<HostNames>(*std::move(config), observe::DropReasons::load(btf_path));
}

Result<void> run_session(observe::TraceSession& session, std::optional<std::chrono::nanoseconds> duration,
                         const observe::TraceSession::Visitor& visit, const std::function<bool()>& enough) {
  auto stop = sys::StopSignal::install();
  if (!stop) return pass(std::move(stop));
  const auto begin = std::chrono::steady_clock::now();
  while (!stop->requested() && !enough()) {
    std::chrono::milliseconds wait = kLookEvery;
    if (duration) {
      const auto left = *duration - (std::chrono::steady_clock::now() - begin);
      if (left <= std::chrono::nanoseconds::zero()) break;
      wait = std::min(wait, std::chrono::ceil<std::chrono::milliseconds>(left));
    }
    if (auto polled = session.poll(wait, visit); !polled) return pass(std::move(polled));
  }
  session.stop();
  // What was under way when the programs were detached.
  while (true) {
    auto rest = session.poll(std::chrono::milliseconds(0), visit);
    if (!rest) return pass(std::move(rest));
    if (*rest == 0) return {};
  }
}

void note_overruns(const observe::RulesMet& rules, model::TraceSummary& summary) {
  if (rules.overruns() == 0) return;
  summary.notes.emplace_back("nftables told more than could be read: rules are missing in some journeys");
}

Result<model::TraceSummary> summary_of(const observe::TraceSession& session, std::chrono::nanoseconds duration) {
  auto accounts = session.accounts();
  if (!accounts) return pass(std::move(accounts));
  model::TraceSummary summary;
  for (const auto& [number, account] : *accounts) {
    const auto name = session.hooks().find(number);
    summary.hooks[name == session.hooks().end() ? fmt::format("hook#{}", number) : name->second] += account;
  }
  summary.duration_ns = static_cast<std::uint64_t>(duration.count());
  summary.notes = session.notes();
  return summary;
}

Result<std::optional<std::chrono::nanoseconds>> trace_duration(const TraceOptions& options) {
  if (options.duration.empty()) return std::optional<std::chrono::nanoseconds>{};
  const auto duration = duration_option(options.duration, "--for");
  if (!duration) return std::unexpected(duration.error());
  return std::optional<std::chrono::nanoseconds>(*duration);
}

Result<Exit> trace_journeys(const TraceOptions& options, observe::TraceRequest request) {
  const auto duration = trace_duration(options);
  if (!duration) return std::unexpected(duration.error());
  auto printer = JourneyPrinter::create(options.view, wall_clock_offset(), isatty(STDOUT_FILENO) == 1);
  if (!printer) return pass(std::move(printer));
  auto live = LiveNames::open(options.btf_path);
  if (!live) return pass(std::move(live));
  auto session = observe::TraceSession::start(request);
  if (!session) return pass(std::move(session));
  const std::uint64_t begin = monotonic_ns();
  observe::RulesHeard heard;
  std::optional<observe::RulesMet> rules;
  if (options.nft) {
    auto started = observe::RulesMet::start(request.nf_namespaces, {});
    if (!started) return pass(std::move(started), "--nft");
    rules.emplace(*std::move(started));
  }
  fmt::print(stderr, "tracing at {} hooks{}\n", session->hooks().size(), *duration ? "" : ", Ctrl-C ends it");
  for (const std::string& note : session->notes()) fmt::print(stderr, "  without {}\n", note);
  const observe::TraceNames names = (*live)->names(session->hooks());
  observe::JourneyBuilder builder;
  std::uint64_t broken = 0;
  const auto show = [&](std::vector<observe::RawJourney> journeys) {
    for (const observe::RawJourney& raw : journeys) {
      auto journey = observe::build_journey(raw, names);
      if (!journey) {
        ++broken;
        continue;
      }
      heard.add_to(*journey);
      printer->take(*journey);
    }
  };
  const auto read_rules = [&] {
    if (!rules) return;
    if (!rules->read(
            [&](std::uint64_t netns, const observe::NftTraceMessage& message) { heard.add(netns, message); })) {
      ++broken;
    }
  };
  const auto visit = [&](std::span<const std::byte> record) {
    (*live)->notice(record);
    if (!builder.add(record)) ++broken;
  };
  const auto enough = [&] {
    read_rules();
    show(builder.take_finished(monotonic_ns()));
    heard.forget_before(monotonic_ns() - observe::kRulesKeptNs);
    return (options.count != 0 && printer->shown() >= options.count) || !std::cout;
  };
  if (auto ran = run_session(*session, *duration, visit, enough); !ran) return pass(std::move(ran));
  read_rules();
  show(builder.take_all());
  auto summary = summary_of(*session, std::chrono::nanoseconds(monotonic_ns() - begin));
  if (!summary) return pass(std::move(summary));
  if (rules) note_overruns(*rules, *summary);
  if (broken != 0) summary->notes.push_back(fmt::format("{} records could not be read", broken));
  printer->finish(printer->summary(*std::move(summary)));
  return Exit::done;
}

}  // namespace weir::cli
