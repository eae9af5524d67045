// Records of the trace programs as events of the model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "base/result.h"
#include "model/namespaces.h"
#include "model/trace.h"
#include "observe/trace/bpf/trace_abi.h"

namespace weir::observe {

/// What numbers in records mean: on a live host asked of the kernel, for a recording read from it.
struct TraceNames {
  std::map<std::uint16_t, std::string> hooks;
  std::function<model::DeviceRef(std::uint64_t netns, std::uint32_t ifindex)> device;
  std::function<std::string(std::uint32_t)> drop_reason;
  std::function<std::string(std::uint64_t)> symbol;
  /// Whose packet it is; nullptr: nobody's. Valid until the next call. May be empty.
  std::function<const model::WorkloadRef*(std::uint64_t cgroup, std::uint64_t netns)> workload;
};

/// The fixed part of a record; Errc::failed when it is too short for what it says of itself.
Result<weir_trace_event> record_head(std::span<const std::byte> record);

/// The whole of a record.
Result<model::TraceEvent> decode(std::span<const std::byte> record, const TraceNames& names);

}  // namespace weir::observe
