// The always-on BPF object: one program a hook of the kernel, shared by every feature that accounts packets.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "bpf/map.h"
#include "bpf/mapped_array.h"
#include "model/flow.h"
#include "observe/flows/bpf/bursts_abi.h"
#include "observe/flows/bpf/flows_abi.h"
#include "observe/queues/bpf/queues_abi.h"

namespace weir::observe {

using QueueRowMap = bpf::PerCpuMap<std::uint32_t, weir_queue_row>;
using QueueCountMap = bpf::PerCpuMap<weir_queue_key, weir_queue_count>;
using QueueChoiceMap = bpf::Map<weir_choice_key, std::uint64_t>;
using QueueFlowMap = bpf::Map<weir_flow_key, std::uint64_t>;
using DataStatMap = bpf::PerCpuMap<std::uint32_t, std::uint64_t>;
using FlowRows = bpf::MappedArray<weir_flow_row>;
using FlowNatMap = bpf::Map<weir_flow_id, weir_flow_nat>;
using FlowOverflowMap = bpf::Map<weir_flow_place, weir_flow_overflow>;
using BurstLanes = bpf::MappedArray<weir_burst_lane>;
using BurstRun = bpf::MappedArray<weir_burst_run>;
using FlowSketchMap = bpf::PerCpuMap<std::uint32_t, weir_flow_sketch>;

/// How a pinned data plane came to this process.
struct PinNews {
  enum class How {
    made,       ///< there was none
    continued,  ///< the very same programs and maps
    updated,    ///< its maps, with programs of this version and these settings
    replaced,   ///< its maps have another layout: see `lost`
  };
  How how = How::made;
  std::string lost{};     ///< what of the one that was replaced nobody has read, in words
  std::uint64_t id = 0;   ///< of these maps: another one after they were replaced
  std::string side_file;  ///< prefix of files that go with the pins
  [[nodiscard]] bool taken_over() const { return how == How::continued || how == How::updated; }
};

/// The loaded and attached data plane; it counts for every namespace of the host until it is destroyed, and leaves
/// nothing behind then, however the process ends, unless it is pinned.
class DataPlane {
 public:
  struct Options {
    /// One transmitted packet in this many is examined for who chose its queue; 0 examines none.
    std::uint32_t sample_rate = 64;
    bool queues = true;
    /// Flows that find room for sure: each direction of each device is one. 0: flows are not accounted.
    std::uint32_t flows = 0;
    model::ElephantPolicy elephants{};
    /// Bytes of each device in each millisecond, from when burst_run() is told the time on; for a short run only.
    bool bursts = false;
    /// Kernel type information other than /sys/kernel/btf/vmlinux, for CO-RE.
    std::string btf_path{};
    /// Directory of a BPF file system, which is made when there is none, where maps and links are pinned: they count on
    /// while no process is there. Pinned ones that are found there are taken over. Empty: nothing is pinned.
    std::string pin_directory{};
  };

  /// Errc::permission without CAP_BPF and CAP_PERFMON, Errc::unsupported without BTF or tracepoint BTF (Linux 5.15 has
  /// it), Errc::busy while another process owns the pins.
  static Result<DataPlane> start(const Options& options);
  /// Takes away what is pinned there, and the file system that was made for it. False when there was nothing.
  static Result<bool> unpin(const std::string& directory);

  DataPlane(DataPlane&&) noexcept;
  DataPlane& operator=(DataPlane&&) noexcept;
  ~DataPlane();

  /// Nothing when it is not pinned.
  [[nodiscard]] const std::optional<PinNews>& pin() const;
  /// The pins count from now on: whoever starts before that finds the ones that were there, or none. Programs that are
  /// replaced stop, and these begin, with one store: a packet that is between the two at that very moment may be
  /// counted by both.
  Result<void> keep();

  /// The exact counters: each CPU's own table, and beside it what found no room there. A key may have several rows, on
  /// one CPU as well, and stand in both maps: add them up.
  [[nodiscard]] const QueueRowMap& queue_rows() const;
  [[nodiscard]] const QueueCountMap& queue_counts() const;
  [[nodiscard]] const QueueChoiceMap& queue_choices() const;
  [[nodiscard]] const QueueFlowMap& queue_flows() const;
  [[nodiscard]] const DataStatMap& stats() const;
  /// The flow account; only what was asked for by Options::flows is ever in these.
  [[nodiscard]] const FlowRows& flows() const;
  [[nodiscard]] const FlowNatMap& flow_nats() const;
  [[nodiscard]] const FlowOverflowMap& flow_overflows() const;
  [[nodiscard]] const FlowSketchMap& flow_sketch() const;
  [[nodiscard]] const DataStatMap& flow_stats() const;  ///< by enum weir_flow_stat
  /// Rows that were handed out are the first; one that has no device lost a race for it.
  [[nodiscard]] const BurstLanes& burst_lanes() const;
  [[nodiscard]] const BurstRun& burst_run() const;  ///< one row
  /// Descriptor of the ring buffer of weir_flow_event.
  [[nodiscard]] int flow_events_fd() const;
  /// Descriptor of the packet memory, for objects that are loaded on demand and share it.
  [[nodiscard]] int packet_slots_fd() const;
  [[nodiscard]] std::uint32_t sample_rate() const;
  /// Bytes of kernel memory that the maps hold, as the kernel accounts them (fdinfo "memlock").
  [[nodiscard]] Result<std::uint64_t> map_bytes() const;
  /// The same before anything is loaded, for a host with `cpus` possible CPUs: the kernel's own formulas
  /// (bpf_map_ops.map_mem_usage, 6.4).
  [[nodiscard]] static Result<std::uint64_t> planned_map_bytes(std::size_t cpus, bool queues = true,
                                                               std::uint32_t flows = 0);

 private:
  struct Parts;
  explicit DataPlane(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
