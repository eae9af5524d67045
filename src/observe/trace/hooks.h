// The hooks at which packets can be seen: their numbers, names, and the words by which people choose them.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace weir::observe {

/// A kernel tracepoint with a program of its own.
struct Tracepoint {
  std::uint16_t number = 0;  ///< enum weir_trace_hook
  std::string_view program;  ///< name of the event; the BPF program is trace_NAME
  std::string_view name;     ///< "net:net_dev_queue"
  bool begins = false;       ///< packets may be seen here for the first time
  int arguments = 0;         ///< read by our program: a tracepoint with fewer is as good as none
};

std::span<const Tracepoint> tracepoints();

/// Priorities at which a bracket of netfilter can be set, by number of the program ("first" … "last").
struct NfSlot {
  std::string_view
      name;  ///< what has happened before: "first", "conntrack", "mangle", "dnat", "filter", "snat", "last"
  std::string_view program;  ///< name of the BPF program
  std::int32_t priority = 0;
};

std::span<const NfSlot> nf_slots();

/// The five hooks of NFPROTO_INET by their number: "PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING".
std::span<const std::string_view> nf_hooks();

/// Which hooks a trace attaches.
struct HookChoice {
  std::vector<std::uint16_t> tracepoints;  ///< numbers, sorted
  std::vector<std::uint16_t>
      named;                       ///< those that somebody asked for by --probe, sorted: they speak beside a filter too
  std::vector<unsigned> nf_slots;  ///< indices into nf_slots(); empty: no netfilter programs
  bool tcx = false;                ///< tcx programs at the chosen devices
  std::vector<std::string> functions;  ///< kernel functions by kprobe.multi; may hold * at the end
  bool operator==(const HookChoice&) const = default;
};

/// A named choice of hooks and of what is done at them.
struct Profile {
  std::string name;
  std::string description;
  HookChoice hooks;
  bool stack = false;
};

/// The profiles that come with Weir, from src/observe/trace/profiles.
const std::vector<Profile>& profiles();

/// Reads a profile's text: {"name", "description", "probes": ["net:*", "nf:last", …], "stack": false}. Errc::usage
/// names the file, the key and what was expected.
Result<Profile> parse_profile(std::string_view json, const std::string& file);

/// By name, or from a file when the word has a '/' or ends in ".json".
Result<Profile> find_profile(const std::string& word);

/// Adds what a --probe word means: a tracepoint ("net:net_dev_queue", "net_dev_queue", "net:*"), "nf", "nf:SLOT",
/// "tcx", or a function ("fn:ip_rcv", "kprobe:ip_rcv*"). Errc::usage with the nearest names.
Result<void> add_probe(HookChoice& choice, const std::string& word);

/// Name of a hook with a fixed number; empty for the number of a function.
std::string fixed_hook_name(std::uint16_t number);

}  // namespace weir::observe
