#include "observe/flows/burst_watch.h"

#include <algorithm>
#include <atomic>
#include <span>

#include "observe/dataplane/dataplane.h"

namespace weir::observe {

struct BurstWatch::Parts {
  DataPlane data_plane;
  const Clock* clock;
  std::chrono::nanoseconds start{};
};

BurstWatch::BurstWatch(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
BurstWatch::BurstWatch(BurstWatch&&) noexcept = default;
BurstWatch& BurstWatch::operator=(BurstWatch&&) noexcept = default;
BurstWatch::~BurstWatch() = default;

Result<BurstWatch> BurstWatch::start(const std::string& btf_path, const Clock& clock) {
  auto data_plane =
      DataPlane::start({.sample_rate = 0, .queues = false, .flows = 0, .bursts = true, .btf_path = btf_path});
  if (!data_plane) return pass(std::move(data_plane), "bursts");
  auto parts = std::make_unique<Parts>(*std::move(data_plane), &clock, clock.monotonic());
  std::atomic_ref(parts->data_plane.burst_run().rows()[0].start_ns)
      .store(static_cast<std::uint64_t>(parts->start.count()), std::memory_order_release);
  return BurstWatch(std::move(parts));
}

BurstReading BurstWatch::read() const {
  const auto gone = std::chrono::floor<std::chrono::milliseconds>(parts_->clock->monotonic() - parts_->start);
  const auto bins = static_cast<std::size_t>(std::clamp(gone, std::chrono::milliseconds(0), kLongest).count());
  const std::span<weir_burst_lane> lanes = parts_->data_plane.burst_lanes().rows();
  const weir_burst_run& run = parts_->data_plane.burst_run().rows()[0];
  BurstReading reading;
  reading.start = parts_->start;
  reading.unplaced_bytes = run.unplaced_bytes;
  for (const weir_burst_lane& lane : lanes.first(std::min<std::size_t>(lanes.size(), run.lanes))) {
    const std::span counted(lane.bytes, bins);
    if (std::ranges::all_of(counted, [](std::uint32_t bytes) { return bytes == 0; })) continue;
    reading.series.push_back(
        {.netns = lane.netns,
         .ifindex = lane.ifindex,
         .direction = lane.direction == WEIR_TX ? model::FlowDirection::tx : model::FlowDirection::rx,
         .bins = {counted.begin(), counted.end()}});
  }
  return reading;
}

}  // namespace weir::observe
