#include "cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/units.h"
#include "cli/capabilities.h"
#include "cli/device_argument.h"
#include "observe/config/config.h"
#include "sys/clock.h"
#include "sys/signal.h"

namespace weir::cli {

Result<model::Capabilities> require_data_plane(const std::string& btf_path) {
  bpf::LadderOptions ladder;
  if (!btf_path.empty()) ladder.btf_path = btf_path;
  auto capabilities = find_capabilities(ladder);
  if (!capabilities) return pass(std::move(capabilities));
  // In this order: without type information there is no tp_btf either, and the first is the reason.
  for (const char* needed : {"btf", "tp_btf"}) {
    const auto rung = std::ranges::find(capabilities->rungs, needed, &model::Rung::name);
    if (rung == capabilities->rungs.end() || rung->available) continue;
    return fail(Errc::unsupported, fmt::format("this kernel cannot be watched: no {}: {}", needed, rung->reason),
                btf_path.empty()
                    ? "Linux 5.15 or newer with CONFIG_DEBUG_INFO_BTF has it; see: weir capabilities"
                    : fmt::format("--btf {} was used; without --btf it is /sys/kernel/btf/vmlinux", btf_path));
  }
  return capabilities;
}

Result<model::HostConfig> read_host_config() {
  return observe::read_host({.namespaces = {"all"}, .devices = {}});
}

std::chrono::nanoseconds wall_clock_offset() {
  const sys::SystemClock clock;
  return clock.realtime().time_since_epoch() - clock.monotonic();
}

Result<std::chrono::nanoseconds> duration_option(const std::string& text, const char* option) {
  const auto span = parse_duration(text);
  if (!span) return std::unexpected(Error(span.error()).with_context(option));
  return *span;
}

Result<std::chrono::nanoseconds> watch_duration(const std::string& text) {
  auto duration = duration_option(text, "--for");
  if (!duration) return duration;
  if (*duration < std::chrono::milliseconds(100) || *duration > std::chrono::hours(24)) {
    return fail(Errc::usage, "--for: must be between 100ms and 24h", "10s is a good start");
  }
  return duration;
}

Result<observe::ObserveRequest> observe_request(const ObserveOptions& options, const model::HostConfig& config) {
  const auto duration = watch_duration(options.duration);
  if (!duration) return std::unexpected(duration.error());
  auto devices = find_devices(config, options.device, options.netns);
  if (!devices) return pass(std::move(devices));

  observe::ObserveRequest request;
  request.duration = *duration;
  request.btf_path = options.btf_path;
  request.read_config = read_host_config;
  if (options.device.empty() && (options.netns.empty() || options.netns == "all")) {
    request.wanted = [](const model::DeviceConfig&) { return true; };  // new devices too
  } else {
    // By name too: a device that is made again under a live view comes back into it.
    request.wanted = [wanted = *std::move(devices)](const model::DeviceConfig& device) {
      return std::ranges::any_of(wanted, [&](const model::DeviceRef& one) {
        return one == device.ref || (one.netns == device.ref.netns && one.name == device.ref.name);
      });
    };
  }
  auto signals = sys::StopSignal::install();
  if (!signals) return pass(std::move(signals));
  request.wait = [stop = std::make_shared<sys::StopSignal>(*std::move(signals))](std::chrono::nanoseconds length) {
    return !stop->wait_for(length);
  };
  return request;
}

}  // namespace weir::cli
