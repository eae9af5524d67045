#include "observe/dataplane/dataplane.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <fstream>
#include <optional>

#include "bpf/memory_access.h"
#include "bpf/skeleton.h"
#include "dataplane.skel.h"
#include "observe/dataplane/layout.h"
#include "observe/dataplane/pinned.h"

namespace weir::observe {

namespace {

/// What all maps together may take is 32 MiB; the exact counters get half of it, whatever the number of CPUs.
constexpr std::size_t kRowBudgetBytes = 8U << 20U;
constexpr std::size_t kMostRows = 4096;
constexpr std::size_t kFewestRows = 512;
constexpr std::size_t kCounterBudgetBytes = 8U << 20U;
constexpr std::size_t kMostCounters = 16384;
constexpr std::size_t kFewestCounters = 1024;
/// Kernel overhead of an element of a preallocated per-CPU hash: struct htab_elem, key, pointer, allocator rounding.
constexpr std::size_t kElementOverheadBytes = 96;

/// A flow stays on few CPUs, so that each of many sees few of them: all rows together are what counts.
constexpr std::size_t kSketchBudgetBytes = 4U << 20U;
constexpr std::size_t kFewestSketchRows = 64;

/// The programs know the elephants' rate in bytes per 2^20 ns.
constexpr double kElephantRateSpanNs = 1U << 20U;

/// Rows of each CPU's own table: a power of two.
std::uint32_t table_rows(std::size_t cpus) {
  const std::size_t most = kRowBudgetBytes / (cpus * sizeof(weir_queue_row));
  return static_cast<std::uint32_t>(std::bit_floor(std::clamp(most, kFewestRows, kMostRows)));
}

/// Keys of the hash map for what finds no row there.
std::uint32_t overflow_keys(std::size_t cpus) {
  const std::size_t key = kElementOverheadBytes + cpus * sizeof(weir_queue_count);
  return static_cast<std::uint32_t>(std::clamp(kCounterBudgetBytes / key, kFewestCounters, kMostCounters));
}

/// Rows of each CPU's sketch: a power of two.
std::uint32_t sketch_rows(std::size_t cpus) {
  const std::size_t most = kSketchBudgetBytes / (cpus * sizeof(weir_flow_sketch));
  return static_cast<std::uint32_t>(
      std::bit_floor(std::clamp<std::size_t>(most, kFewestSketchRows, WEIR_FLOW_SKETCH_ROWS)));
}

/// Without queues their maps are as small as a map can be.
void size_maps(dataplane& object, std::size_t cpus, bool queues) {
  if (!queues) {
    for (bpf_map* map : {object.maps.queue_rows, object.maps.queue_counts, object.maps.queue_choices,
                         object.maps.queue_flows, object.maps.packet_slots}) {
      bpf_map__set_max_entries(map, 1);
    }
    object.rodata->row_mask = 0;
    return;
  }
  const std::uint32_t rows = table_rows(cpus);
  bpf_map__set_max_entries(object.maps.queue_rows, rows);
  object.rodata->row_mask = rows - 1;
  bpf_map__set_max_entries(object.maps.queue_counts, overflow_keys(cpus));
}

/// Without flows their maps are as small as a map can be.
void size_flow_maps(dataplane& object, std::size_t cpus, std::uint32_t flows) {
  // Half of the rows stay free, so that a free one is found in few steps.
  const std::uint32_t rows = flows == 0 ? 1 : std::bit_ceil(flows * 2);
  bpf_map__set_max_entries(object.maps.flows, rows);
  object.rodata->flow_row_mask = rows - 1;
  object.rodata->flow_near_mask = std::min<std::uint32_t>(rows, WEIR_FLOW_NEAR_ROWS) - 1;
  const std::uint32_t sketch = sketch_rows(cpus);
  bpf_map__set_max_entries(object.maps.flow_sketch, sketch);
  object.rodata->flow_sketch_mask = sketch - 1;
  if (flows != 0) return;
  bpf_map__set_max_entries(object.maps.flow_nats, 1);
  bpf_map__set_max_entries(object.maps.flow_overflows, 1);
  bpf_map__set_max_entries(object.maps.flow_sketch, 1);
  bpf_map__set_max_entries(object.maps.flow_events, 4096);
}

void configure_flows(dataplane& object, std::size_t cpus, const DataPlane::Options& options) {
  size_flow_maps(object, cpus, options.flows);
  object.rodata->account_flows = options.flows != 0;
  const model::ElephantPolicy& policy = options.elephants;
  object.rodata->elephant_bytes = policy.bytes;
  object.rodata->elephant_rate = static_cast<std::uint64_t>(policy.rate_bps / 8.0 * kElephantRateSpanNs / 1e9);
  object.rodata->elephant_sustained_ns = static_cast<std::uint64_t>(policy.sustained.count());
  object.rodata->elephant_demote_ns = static_cast<std::uint64_t>(policy.demote_after.count());
}

/// Without a run the maps of bursts are as small as a map can be.
void configure_bursts(dataplane& object, bool bursts) {
  object.rodata->account_bursts = bursts;
  if (bursts) return;
  bpf_map__set_max_entries(object.maps.burst_lanes, 1);
  bpf_map__set_max_entries(object.maps.burst_places, 1);
}

Result<std::uint64_t> memlock_bytes(int fd) {
  std::ifstream info(fmt::format("/proc/self/fdinfo/{}", fd));
  std::string word;
  std::uint64_t bytes = 0;
  while (info >> word) {
    if (word == "memlock:" && info >> bytes) return bytes;
  }
  return fail(Errc::failed, "the kernel does not say how much memory a BPF map holds");
}

/// htab_map_mem_usage() and array_map_mem_usage() for a preallocated map; struct htab_elem 48, struct bucket 16 bytes.
std::uint64_t planned_bytes(const bpf_map* map, std::size_t cpus) {
  const auto round_up = [](std::uint64_t bytes) { return (bytes + 7) / 8 * 8; };
  const std::uint64_t value = round_up(bpf_map__value_size(map));
  const std::uint64_t entries = bpf_map__max_entries(map);
  const std::uint64_t hash_element = 48 + round_up(bpf_map__key_size(map));
  switch (bpf_map__type(map)) {
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_HASH:  // one spare element a CPU, so that an update in place always finds one
      return std::bit_ceil(entries) * 16 + (entries + cpus) * (hash_element + value);
    case BPF_MAP_TYPE_PERCPU_HASH:
      return std::bit_ceil(entries) * 16 + entries * (hash_element + sizeof(void*) + cpus * value);
    case BPF_MAP_TYPE_PERCPU_ARRAY:
      return entries * (sizeof(void*) + cpus * value);
    default:
      return entries * value;
  }
}

}  // namespace

struct DataPlane::Parts {
  bpf::Skeleton<dataplane> skeleton;
  QueueRowMap rows;
  QueueCountMap counts;
  QueueChoiceMap choices;
  QueueFlowMap sampled_flows;
  DataStatMap stats;
  FlowRows flows;
  FlowNatMap flow_nats;
  FlowOverflowMap flow_overflows;
  FlowSketchMap flow_sketch;
  DataStatMap flow_stats;
  BurstLanes burst_lanes;
  BurstRun burst_run;
  std::optional<PinnedPlane> pins{};
  std::vector<sys::Fd> links{};  ///< of pinned programs that are not the skeleton's
  std::optional<PinNews> news{};
};

namespace {

/// Opens maps one after the other; the first error stays.
class MapOpener {
 public:
  template <class M>
  std::optional<M> open(const bpf_map* map) {
    auto opened = M::open(map);
    if (opened) return *std::move(opened);
    if (!error_) error_ = opened.error();
    return std::nullopt;
  }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }

 private:
  std::optional<Error> error_;
};

std::uint64_t image_hash(const dataplane& object) {
  const std::span image(static_cast<const std::byte*>(object.skeleton->data), object.skeleton->data_sz);
  return hash_bytes(std::as_bytes(std::span(object.rodata, 1)), hash_bytes(image));
}

/// The pins of this object, whose settings are made. Maps and generation come from there.
Result<PinnedPlane> open_pins(dataplane& object, const std::string& directory) {
  auto pins = PinnedPlane::open(directory, layout_hash(object.obj), image_hash(object));
  if (!pins) return pins;
  object.rodata->generation = pins->generation();
  object.bss->serving_generation = pins->generation();  // of a new map; one that is taken over keeps its own
  if (!pins->news().taken_over()) return pins;
  if (auto reused = pins->reuse_maps(object.obj); !reused) return pass(std::move(reused), "pinned data plane");
  return pins;
}

/// What has been attached is pinned; what is there already is held.
Result<std::vector<sys::Fd>> hold(PinnedPlane& pins, const dataplane& object) {
  if (pins.news().how == PinNews::How::continued) return pins.links(object.obj);
  const std::vector<const bpf_link*> links{object.links.data_receive, object.links.data_transmit};
  if (auto pinned = pins.pin(object.obj, links, {"data_receive", "data_transmit"}); !pinned)
    return pass(std::move(pinned));
  return std::vector<sys::Fd>{};
}

}  // namespace

DataPlane::DataPlane(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
DataPlane::DataPlane(DataPlane&&) noexcept = default;
DataPlane& DataPlane::operator=(DataPlane&&) noexcept = default;
DataPlane::~DataPlane() = default;

Result<DataPlane> DataPlane::start(const Options& options) {
  auto cpus = bpf::possible_cpus();
  if (!cpus) return pass(std::move(cpus));
  auto skeleton = bpf::Skeleton<dataplane>::open(options.btf_path);
  if (!skeleton) return pass(std::move(skeleton), "data plane");
  skeleton->get().rodata->sample_rate = options.sample_rate;
  skeleton->get().rodata->account_queues = options.queues;
  const bpf::MemoryAccess access = bpf::memory_access();
  skeleton->get().rodata->have_rdonly_cast = access.rdonly_cast != 0;
  skeleton->get().rodata->reads_by_address = access.any_address;
  configure_flows(skeleton->get(), *cpus, options);
  size_maps(skeleton->get(), *cpus, options.queues);
  configure_bursts(skeleton->get(), options.bursts);
  std::optional<PinnedPlane> pins;
  if (!options.pin_directory.empty()) {
    auto opened = open_pins(skeleton->get(), options.pin_directory);
    if (!opened) return pass(std::move(opened));
    pins.emplace(*std::move(opened));
  }
  const bool runs = pins && pins->news().how == PinNews::How::continued;
  if (!runs) {
    if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded), "data plane");
  }

  const auto& maps = skeleton->get().maps;
  MapOpener opener;
  auto rows = opener.open<QueueRowMap>(maps.queue_rows);
  auto counts = opener.open<QueueCountMap>(maps.queue_counts);
  auto choices = opener.open<QueueChoiceMap>(maps.queue_choices);
  auto sampled_flows = opener.open<QueueFlowMap>(maps.queue_flows);
  auto stats = opener.open<DataStatMap>(maps.data_stats);
  auto flows = opener.open<FlowRows>(maps.flows);
  auto nats = opener.open<FlowNatMap>(maps.flow_nats);
  auto overflows = opener.open<FlowOverflowMap>(maps.flow_overflows);
  auto sketch = opener.open<FlowSketchMap>(maps.flow_sketch);
  auto flow_stats = opener.open<DataStatMap>(maps.flow_stats);
  auto burst_lanes = opener.open<BurstLanes>(maps.burst_lanes);
  auto burst_run = opener.open<BurstRun>(maps.burst_run);
  if (opener.error()) return std::unexpected(Error(*opener.error()).with_context("data plane"));
  if (!runs) {
    if (auto attached = skeleton->attach(); !attached) return pass(std::move(attached), "data plane");
  }
  auto parts = std::make_unique<Parts>(*std::move(skeleton), *std::move(rows), *std::move(counts), *std::move(choices),
                                       *std::move(sampled_flows), *std::move(stats), *std::move(flows),
                                       *std::move(nats), *std::move(overflows), *std::move(sketch),
                                       *std::move(flow_stats), *std::move(burst_lanes), *std::move(burst_run));
  if (pins) {
    auto links = hold(*pins, parts->skeleton.get());
    if (!links) return pass(std::move(links), "pinned data plane");
    parts->links = *std::move(links);
    parts->news = pins->news();
    parts->pins.emplace(*std::move(pins));
  }
  return DataPlane(std::move(parts));
}

Result<bool> DataPlane::unpin(const std::string& directory) {
  if (!bpf::PinFolder::exists(directory)) return false;
  auto folder = bpf::PinFolder::open(directory);
  if (!folder) return pass(std::move(folder));
  if (auto removed = folder->remove_all(); !removed) return pass(std::move(removed));
  return true;
}

const std::optional<PinNews>& DataPlane::pin() const {
  return parts_->news;
}

Result<void> DataPlane::keep() {
  if (!parts_->pins) return {};
  PinnedPlane& pins = *parts_->pins;
  if (auto committed = pins.commit(); !committed) return committed;
  const auto serving = bpf::MappedArray<std::uint64_t>::open(parts_->skeleton->maps.bss);
  if (!serving) return std::unexpected(serving.error());
  std::atomic_ref(serving->rows()[0]).store(pins.generation(), std::memory_order_seq_cst);
  return pins.remove_older();
}

const QueueRowMap& DataPlane::queue_rows() const {
  return parts_->rows;
}
const QueueCountMap& DataPlane::queue_counts() const {
  return parts_->counts;
}
const QueueChoiceMap& DataPlane::queue_choices() const {
  return parts_->choices;
}
const QueueFlowMap& DataPlane::queue_flows() const {
  return parts_->sampled_flows;
}
const DataStatMap& DataPlane::stats() const {
  return parts_->stats;
}
const FlowRows& DataPlane::flows() const {
  return parts_->flows;
}
const FlowNatMap& DataPlane::flow_nats() const {
  return parts_->flow_nats;
}
const FlowOverflowMap& DataPlane::flow_overflows() const {
  return parts_->flow_overflows;
}
const FlowSketchMap& DataPlane::flow_sketch() const {
  return parts_->flow_sketch;
}
const DataStatMap& DataPlane::flow_stats() const {
  return parts_->flow_stats;
}
const BurstLanes& DataPlane::burst_lanes() const {
  return parts_->burst_lanes;
}
const BurstRun& DataPlane::burst_run() const {
  return parts_->burst_run;
}
int DataPlane::flow_events_fd() const {
  return bpf_map__fd(parts_->skeleton->maps.flow_events);
}
int DataPlane::packet_slots_fd() const {
  return bpf_map__fd(parts_->skeleton->maps.packet_slots);
}
std::uint32_t DataPlane::sample_rate() const {
  return parts_->skeleton->rodata->sample_rate;
}

Result<std::uint64_t> DataPlane::map_bytes() const {
  std::uint64_t sum = 0;
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(parts_->skeleton->obj, map)) != nullptr) {
    if (bpf_map__fd(map) < 0) continue;  // of programs that another process has loaded
    const auto bytes = memlock_bytes(bpf_map__fd(map));
    if (!bytes) return bytes;
    sum += *bytes;
  }
  return sum;
}

Result<std::uint64_t> DataPlane::planned_map_bytes(std::size_t cpus, bool queues, std::uint32_t flows) {
  auto skeleton = bpf::Skeleton<dataplane>::open();
  if (!skeleton) return pass(std::move(skeleton), "data plane");
  size_flow_maps(skeleton->get(), cpus, flows);
  size_maps(skeleton->get(), cpus, queues);
  configure_bursts(skeleton->get(), false);
  std::uint64_t sum = 0;
  bpf_map* map = nullptr;
  while ((map = bpf_object__next_map(skeleton->get().obj, map)) != nullptr) sum += planned_bytes(map, cpus);
  return sum;
}

}  // namespace weir::observe
