// Bytes a millisecond of every device, in a short run of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/flow.h"

namespace weir::observe {

/// One device and direction: bytes in each millisecond of the run.
struct BurstSeries {
  std::uint64_t netns = 0;
  std::uint32_t ifindex = 0;
  model::FlowDirection direction = model::FlowDirection::tx;
  std::vector<std::uint32_t> bins;
};

struct BurstReading {
  std::chrono::nanoseconds start{};  ///< of the first millisecond, CLOCK_MONOTONIC
  std::vector<BurstSeries> series;   ///< of devices with a packet in the run
  std::uint64_t unplaced_bytes = 0;  ///< of devices for which there was no room
};

/// A data plane that does nothing else: it counts beside whatever is there, pinned or not, and what it holds in the
/// kernel (8 MiB) is gone with it.
class BurstWatch {
 public:
  /// A run is not longer.
  static constexpr std::chrono::milliseconds kLongest{4000};
  /// Errors as DataPlane::start(). The run begins when it returns. `clock` must outlive the watch.
  static Result<BurstWatch> start(const std::string& btf_path, const Clock& clock);
  BurstWatch(BurstWatch&&) noexcept;
  BurstWatch& operator=(BurstWatch&&) noexcept;
  ~BurstWatch();

  /// The whole milliseconds that have gone by, at most kLongest of them; the run goes on.
  [[nodiscard]] BurstReading read() const;

 private:
  struct Parts;
  explicit BurstWatch(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
