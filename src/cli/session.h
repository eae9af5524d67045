// What observing commands share: the host's configuration, waiting that SIGINT ends, and the request to the observer.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"
#include "model/capability.h"
#include "model/device.h"
#include "observe/queues/observer.h"

namespace weir::cli {

/// Options that every observing command has.
struct ObserveOptions {
  std::string device;            ///< dev or netns/dev; empty: all
  std::string netns;             ///< namespace or "all"; empty: all
  std::string duration = "10s";  ///< --for
  std::string btf_path;          ///< --btf
  bool json = false;
};

/// What this kernel offers, provided that packets can be watched at all; otherwise the error that says what is missing
/// and how to get it (Errc::permission or Errc::unsupported).
Result<model::Capabilities> require_data_plane(const std::string& btf_path);

/// Reads the configuration of every namespace of this host that can be entered.
Result<model::HostConfig> read_host_config();

/// What must be added to CLOCK_MONOTONIC to have UTC.
std::chrono::nanoseconds wall_clock_offset();

/// The duration that was given for an option, which the error names.
Result<std::chrono::nanoseconds> duration_option(const std::string& text, const char* option);

/// What was given for --for.
Result<std::chrono::nanoseconds> watch_duration(const std::string& text);

/// A request for the devices that the options mean; checks the words before anything is loaded. `config` is what
/// read_host_config() gave. SIGINT and SIGTERM are taken over: they end the watching, not the program.
Result<observe::ObserveRequest> observe_request(const ObserveOptions& options, const model::HostConfig& config);

}  // namespace weir::cli
