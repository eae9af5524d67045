#include "bpf/ladder.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <thread>

#include "base/text.h"
#include "bpf/ladder_probes.h"

namespace weir::bpf {

namespace {

/// How a rung is tried, what gives it, and what its absence means for a user.
struct RungSpec {
  const char* name;
  std::function<Result<void>(const btf*)> attempt;
  bool in_scratch_namespace;
  const char* needs;
  const char* without_it;
};

template <auto attempt>
Result<void> plain(const btf*) {
  return attempt();
}

Result<void> has_btf(const btf* info) {
  if (info == nullptr) return fail(Errc::unsupported, "there is none");
  return {};
}

const RungSpec kRungs[] = {
    {"btf", has_btf, false, "a kernel built with CONFIG_DEBUG_INFO_BTF",
     "packets cannot be observed: doctor and queues cannot run on this kernel"},
    {"tp_btf", probes::tp_btf, false, "Linux 5.5 with CONFIG_DEBUG_INFO_BTF",
     "packets cannot be counted by queue: doctor and queues cannot run on this kernel"},
    {"raw_tp", plain<probes::raw_tp>, false, "Linux 4.17", "nothing is lost while tp_btf works"},
    {"netfilter_link", plain<probes::netfilter_link>, true, "Linux 6.4 with CONFIG_NETFILTER_BPF_LINK",
     "a change of the queue mapping is located less exactly: not between routing and firewall hooks"},
    {"tcx", plain<probes::tcx>, true, "Linux 6.6",
     "programs at a device's ingress and egress go through clsact, which shows up in `tc qdisc`"},
    {"clsact", plain<probes::clsact>, true, "CONFIG_NET_SCHED, CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
     "`weir queues fix` cannot install its program"},
    {"xdp", plain<probes::xdp>, true, "Linux 5.9", "the XDP fast path cannot be used"},
    {"ringbuf", plain<probes::ringbuf>, false, "Linux 5.8", "events cannot be streamed; counters still work"},
    {"rdonly_cast", probes::rdonly_cast, false, "Linux 6.2 (kfunc bpf_rdonly_cast)",
     "programs at tc and netfilter hooks see less of a packet; tracepoints fill in"},
    {"fentry", probes::fentry, false, "ftrace direct calls (Linux 5.5), not withheld by the machine's owner",
     "places between tracepoints cannot be looked at: intervals on a path are wider"},
    {"fexit", probes::fexit, false, "ftrace direct calls (Linux 5.5), not withheld by the machine's owner",
     "return values of kernel functions cannot be seen: intervals on a path are wider"},
    {"kprobe_multi", plain<probes::kprobe_multi>, false, "Linux 5.18 with CONFIG_FPROBE",
     "many functions at once cannot be looked at; hooks are attached one by one"},
    {"kprobe", plain<probes::kprobe>, false, "CONFIG_KPROBES and CONFIG_BPF_EVENTS",
     "functions without a tracepoint cannot be looked at: intervals on a path are wider"},
    {"netns_id", plain<probes::netns_id>, false, "Linux 6.18 (NS_GET_ID)",
     "namespaces are told apart by their socket cookie instead, which serves as well within one boot"},
    {"netns_cookie", plain<probes::netns_cookie>, false, "Linux 5.14 (SO_NETNS_COOKIE)",
     "namespaces cannot be told apart for certain unless netns_id is there"},
    {"tracefs", plain<probes::tracefs>, false, "tracefs mounted at /sys/kernel/tracing, and root",
     "nothing is lost while btf is there: tracepoints are found by BTF"},
};

/// Runs `body` in a network namespace that nobody else sees and that ends with it.
Result<void> in_scratch_namespace(const std::function<Result<void>()>& body) {
  Result<void> result;
  std::thread([&] {
    // Only this thread leaves the host's namespace; it never comes back.
    result = ::unshare(CLONE_NEWNET) == 0 ? body() : Result<void>(fail_errno(errno, "making a scratch namespace"));
  }).join();
  return result;
}

LadderRung try_rung(const RungSpec& spec, const btf* info) {
  LadderRung rung{spec.name, false, {}, spec.without_it};
  const auto attempt = [&] { return spec.attempt(info); };
  const Result<void> result = spec.in_scratch_namespace ? in_scratch_namespace(attempt) : attempt();
  rung.available = result.has_value();
  if (!result) rung.reason = fmt::format("{}; needs {}", result.error().message, spec.needs);
  return rung;
}

struct CapabilityBit {
  const char* name;
  unsigned bit;  // linux/capability.h
};
constexpr CapabilityBit kNeeded[] = {
    {"CAP_BPF", 39}, {"CAP_PERFMON", 38}, {"CAP_NET_ADMIN", 12}, {"CAP_SYS_ADMIN", 21}};

/// The needed capabilities that the calling process does not have: "CAP_BPF, CAP_PERFMON".
std::string missing_capabilities() {
  std::ifstream status("/proc/thread-self/status");
  std::uint64_t effective = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) effective = parse_u64(trim(std::string_view(line).substr(7)), 16).value_or(0);
  }
  std::string missing;
  for (const CapabilityBit& needed : kNeeded) {
    if ((effective >> needed.bit & 1) != 0) continue;
    if (!missing.empty()) missing += ", ";
    missing += needed.name;
  }
  return missing;
}

}  // namespace

bool Ladder::has(std::string_view name) const {
  const auto rung = std::ranges::find(rungs, name, &LadderRung::name);
  return rung != rungs.end() && rung->available;
}

bool has_rung(std::string_view name, const btf* types) {
  const auto* spec = std::ranges::find(kRungs, name, &RungSpec::name);
  return spec != std::end(kRungs) && try_rung(*spec, types).available;
}

Result<Ladder> climb(const LadderOptions& options) {
  const std::string missing = missing_capabilities();
  if (const auto loaded = probes::load_any(); !loaded && loaded.error().code == Errc::permission) {
    return fail(Errc::permission,
                missing.empty()
                    ? "this system does not let even root load BPF programs (kernel lockdown or a seccomp filter)"
                    : "no permission to load BPF programs: missing " + missing,
                "run it as root (sudo weir …), or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_ADMIN");
  }
  utsname system{};
  ::uname(&system);
  Ladder ladder{static_cast<const char*>(system.release), {}};
  auto info = probes::parse_btf(options.btf_path);
  for (const RungSpec& spec : kRungs) {
    ladder.rungs.push_back(try_rung(spec, info ? info->get() : nullptr));
  }
  if (!info) ladder.rungs.front().reason = fmt::format("{}; needs {}", info.error().message, kRungs[0].needs);
  return ladder;
}

}  // namespace weir::bpf
