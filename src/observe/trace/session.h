// A running trace: programs at the hooks, the ring of events, and the books that say where every packet went.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/entity.h"
#include "model/trace.h"
#include "observe/trace/bpf/trace_abi.h"
#include "observe/trace/function_rung.h"
#include "observe/trace/hooks.h"

namespace weir::observe {

/// What to trace.
struct TraceRequest {
  std::string filter;  ///< in tcpdump's language; empty: every packet
  HookChoice hooks;
  std::vector<model::NetnsRef> nf_namespaces;  ///< where programs of netfilter are attached
  std::vector<model::DeviceRef> tcx_devices;
  std::uint64_t only_netns = 0;    ///< packets are taken up in this namespace only (and followed everywhere); 0: in any
  bool events = true;              ///< false: only what is aggregated in the kernel
  bool paths = false;              ///< aggregate paths in the kernel
  std::uint32_t watch_mask = 0;    ///< 1 << enum weir_watch_field
  std::uint32_t sample_flows = 1;  ///< follow one flow in so many, by its hash
  std::uint32_t snap_bytes = 96;   ///< of a packet, at most WEIR_TRACE_SNAP
  std::size_t ring_bytes = 16U << 20U;  ///< rounded up to a power of two pages
  bool stack = false;
  std::optional<FunctionRung> functions_by;  ///< how functions of the kernel are looked at; none: the best way there is
  std::string btf_path;                      ///< empty: the running kernel's own
};

/// One counted change of a watched field.
struct WatchedChange {
  weir_watch_key key{};
  std::uint64_t packets = 0;
};

/// One place on the tree of paths, by the key of its node.
struct PathPlace {
  std::uint64_t key = 0;
  weir_path_node node{};
};

/// Programs and maps live as long as this does, and no longer: nothing is pinned.
class TraceSession {
 public:
  /// Loads and attaches. What of the choice this kernel lacks is left out and named in notes(); Errc::unsupported when
  /// nothing is left or `functions_by` is not to be had, Errc::usage for a filter that does not compile.
  static Result<TraceSession> start(const TraceRequest& request);

  using Visitor = std::function<void(std::span<const std::byte> record)>;
  /// Waits for events at most that long and hands them to `visit` in the order in which they were made.
  Result<std::size_t> poll(std::chrono::milliseconds timeout, const Visitor& visit);
  /// Detaches every program; events that are still in the ring can be polled.
  void stop();

  /// Numbers and names of the hooks that were attached.
  [[nodiscard]] const std::map<std::uint16_t, std::string>& hooks() const;
  /// Books of the hooks so far, by number. Firings that the kernel left out because the program ran already on that CPU
  /// count as seen and lost.
  [[nodiscard]] Result<std::map<std::uint16_t, model::HookAccount>> accounts() const;
  [[nodiscard]] Result<std::vector<WatchedChange>> changes() const;
  [[nodiscard]] Result<std::vector<PathPlace>> paths() const;
  /// Changes and steps that found no room in their maps.
  [[nodiscard]] std::pair<std::uint64_t, std::uint64_t> aggregates_lost() const;
  [[nodiscard]] const std::vector<std::string>& notes() const;

  TraceSession(TraceSession&&) noexcept;
  TraceSession& operator=(TraceSession&&) noexcept;
  ~TraceSession();

 private:
  struct Parts;
  explicit TraceSession(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
