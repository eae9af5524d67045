#include "observe/trace/session.h"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "bpf/log.h"
#include "bpf/map.h"
#include "bpf/skeleton.h"
#include "observe/trace/attach.h"
#include "observe/trace/filter/access.h"
#include "observe/trace/filter/packet_filter.h"
#include "trace.skel.h"

namespace weir::observe {

namespace {

/// How often the older half of the memory of hot addresses is emptied.
constexpr std::chrono::seconds kCoolAfter{30};

/// The object with the filter put into its image; the image must live until the object is loaded.
Result<bpf::Skeleton<trace>> open_with_filter(std::vector<std::byte>& image, const std::string& filter,
                                              const std::string& btf_path) {
  std::size_t size = 0;
  const auto* bytes = static_cast<const std::byte*>(trace::elf_bytes(&size));
  image.assign(bytes, bytes + size);
  auto compiled = compile_packet_filter(filter);
  if (!compiled) return pass(std::move(compiled));
  if (auto placed = place_packet_filter(image, *compiled); !placed) return pass(std::move(placed));
  auto opened = bpf::Skeleton<trace>::open_image(
      [&](trace& object) {
        if (const int err = trace__create_skeleton(&object); err != 0) return err;
        object.skeleton->data = image.data();
        object.skeleton->data_sz = image.size();
        return 0;
      },
      btf_path);
  if (opened) opened->get().rodata->filter_speaks_of_vlans = compiled->speaks_of_vlans;
  return opened;
}

/// Which hooks may tell what the filter cannot be asked about: all without a filter, else those that were named.
void choose_lone(trace& object, const TraceRequest& request) {
  auto& wanted = object.rodata->lone_wanted;
  for (auto& half : wanted) half = request.filter.empty() ? ~std::uint64_t{0} : 0;
  for (const std::uint16_t number : request.hooks.named) wanted[number / 64] |= std::uint64_t{1} << number % 64;
}

void configure(trace& object, const TraceRequest& request) {
  object.rodata->emit_events = request.events;
  object.rodata->count_paths = request.paths;
  object.rodata->with_stack = request.stack;
  object.rodata->watch_mask = request.watch_mask;
  object.rodata->sample_flows = request.sample_flows;
  object.rodata->snap_bytes = request.snap_bytes;
  object.rodata->only_netns = request.only_netns;
  object.rodata->reads_by_address = best_packet_access().rdonly_cast != 0;
  choose_lone(object, request);
  const std::size_t page = 4096;
  const std::size_t ring = std::bit_ceil(std::max(request.events ? request.ring_bytes : page, page));
  object.rodata->wakeup_bytes = static_cast<std::uint32_t>(ring / 8);
  bpf_map__set_max_entries(object.maps.events, static_cast<std::uint32_t>(ring));
  if (!request.paths) bpf_map__set_max_entries(object.maps.path_nodes, 1);
  if (request.watch_mask == 0) bpf_map__set_max_entries(object.maps.watch_changes, 1);
}

std::uint64_t missed_firings(int program) {
  bpf_prog_info info{};
  std::uint32_t bytes = sizeof info;
  return bpf_obj_get_info_by_fd(program, &info, &bytes) == 0 ? info.recursion_misses : 0;
}

}  // namespace

struct TraceSession::Parts {
  bpf::Skeleton<trace> skeleton;
  bpf::PerCpuMap<std::uint32_t, weir_trace_count> counts;
  std::optional<bpf::RingHandle> ring;
  attach::Attached attached;
  Visitor visit;
  std::chrono::steady_clock::time_point cooled = std::chrono::steady_clock::now();
  int cold_half = 0;
  std::map<std::uint16_t, std::uint64_t> missed_before;  ///< until all programs were attached
  std::map<std::uint16_t, std::uint64_t> missed;         ///< as of stop()
};

TraceSession::TraceSession(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TraceSession::TraceSession(TraceSession&&) noexcept = default;
TraceSession& TraceSession::operator=(TraceSession&&) noexcept = default;
TraceSession::~TraceSession() = default;

Result<TraceSession> TraceSession::start(const TraceRequest& request) {
  std::vector<std::byte> image;
  auto skeleton = open_with_filter(image, request.filter, request.btf_path);
  if (!skeleton) return pass(std::move(skeleton));
  configure(skeleton->get(), request);
  attach::Attached attached;
  if (auto chosen = attach::choose_programs(skeleton->get(), request, attached); !chosen)
    return pass(std::move(chosen));
  if (auto loaded = skeleton->load(); !loaded) return pass(std::move(loaded), "trace");
  auto counts = bpf::PerCpuMap<std::uint32_t, weir_trace_count>::open(bpf_map__fd(skeleton->get().maps.counts));
  if (!counts) return pass(std::move(counts), "trace");
  auto parts = std::make_unique<Parts>(Parts{.skeleton = *std::move(skeleton),
                                             .counts = *std::move(counts),
                                             .ring = std::nullopt,
                                             .attached = std::move(attached),
                                             .visit = {},
                                             .missed_before = {},
                                             .missed = {}});
  auto ring = bpf::RingHandle::open(bpf_map__fd(parts->skeleton->maps.events),
                                    [raw = parts.get()](const void* record, std::size_t bytes) {
                                      if (raw->visit)
                                        raw->visit(std::span(static_cast<const std::byte*>(record), bytes));
                                    });
  if (!ring) return pass(std::move(ring), "trace");
  parts->ring.emplace(*std::move(ring));
  if (auto done = attach::attach_programs(parts->skeleton.get(), request, parts->attached); !done) {
    return pass(std::move(done));
  }
  for (const auto& [number, fd] : parts->attached.tracepoint_fds) parts->missed_before[number] = missed_firings(fd);
  parts->skeleton->bss->running = true;
  return TraceSession(std::move(parts));
}

Result<std::size_t> TraceSession::poll(std::chrono::milliseconds timeout, const Visitor& visit) {
  Parts& parts = *parts_;
  const auto now = std::chrono::steady_clock::now();
  if (now - parts.cooled > kCoolAfter) {
    parts.cooled = now;
    auto* half = static_cast<void*>(parts.skeleton->bss->hot[parts.cold_half]);
    std::memset(half, 0, sizeof parts.skeleton->bss->hot[0]);
    parts.cold_half = 1 - parts.cold_half;
  }
  parts.visit = visit;
  // Programs wake the reader only when much has come together: what is left after the wait is fetched here.
  auto seen = parts.ring->poll(timeout);
  if (seen) {
    auto rest = parts.ring->consume();
    if (!rest)
      seen = pass(std::move(rest));
    else
      *seen += *rest;
  }
  parts.visit = nullptr;
  return seen;
}

void TraceSession::stop() {
  parts_->skeleton->bss->running = false;
  for (const auto& [number, fd] : parts_->attached.tracepoint_fds) parts_->missed[number] = missed_firings(fd);
  parts_->attached.tracepoint_fds.clear();
  parts_->attached.links.clear();
  parts_->attached.programs.clear();
}

const std::map<std::uint16_t, std::string>& TraceSession::hooks() const {
  return parts_->attached.hooks;
}

Result<std::map<std::uint16_t, model::HookAccount>> TraceSession::accounts() const {
  std::map<std::uint16_t, model::HookAccount> accounts;
  for (const auto& [number, name] : parts_->attached.hooks) {
    auto by_cpu = parts_->counts.lookup(number);
    if (!by_cpu) return pass(std::move(by_cpu));
    model::HookAccount sum;
    for (const weir_trace_count& one : *by_cpu) {
      sum += {one.seen, one.emitted, one.filtered, one.sampled_out, one.lost, 0};
    }
    const auto fd = parts_->attached.tracepoint_fds.find(number);
    const auto kept = parts_->missed.find(number);
    std::uint64_t missed = kept == parts_->missed.end() ? 0 : kept->second;
    if (fd != parts_->attached.tracepoint_fds.end()) missed = missed_firings(fd->second);
    const auto before = parts_->missed_before.find(number);
    missed -= std::min(missed, before == parts_->missed_before.end() ? 0 : before->second);
    sum.seen += missed;
    sum.lost += missed;
    sum.missed = missed;
    accounts[number] = sum;
  }
  return accounts;
}

Result<std::vector<WatchedChange>> TraceSession::changes() const {
  auto map = bpf::Map<weir_watch_key, std::uint64_t>::open(parts_->skeleton->maps.watch_changes);
  if (!map) return pass(std::move(map));
  std::vector<WatchedChange> changes;
  auto read = map->for_each([&](const weir_watch_key& key, std::uint64_t packets) {
    changes.push_back({key, packets});
  });
  if (!read) return pass(std::move(read));
  return changes;
}

Result<std::vector<PathPlace>> TraceSession::paths() const {
  auto map = bpf::Map<std::uint64_t, weir_path_node>::open(parts_->skeleton->maps.path_nodes);
  if (!map) return pass(std::move(map));
  std::vector<PathPlace> places;
  auto read = map->for_each([&](std::uint64_t key, const weir_path_node& node) { places.push_back({key, node}); });
  if (!read) return pass(std::move(read));
  return places;
}

std::pair<std::uint64_t, std::uint64_t> TraceSession::aggregates_lost() const {
  return {parts_->skeleton->bss->aggregates_lost[0], parts_->skeleton->bss->aggregates_lost[1]};
}

const std::vector<std::string>& TraceSession::notes() const {
  return parts_->attached.notes;
}

}  // namespace weir::observe
