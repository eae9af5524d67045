// xps and forwarding-cpu: the map sends CPUs to queues; either the map or the CPUs are uneven.
#include <fmt/format.h>

#include <algorithm>

#include "reason/doctor/thresholds.h"
#include "reason/doctor/tx_causes.h"
#include "reason/doctor/words.h"

namespace weir::reason {

namespace {

using model::QueueRule;

// N_eff that the map gives when all CPUs send alike. A CPU in the maps of several queues is hashed over them; one in
// none falls to the hash over all (get_xps_queue() finds nothing).
double effective_by_map(const TxView& view) {
  const auto& maps = view.config->xps_cpus;
  std::vector<model::QueueCount> load(view.queues);
  // 720720 packets a CPU: divisible by every number of queues up to 16, and rounding is below 1e-4 beyond.
  constexpr std::uint64_t kPackets = 720720;
  for (std::uint32_t cpu = 0; cpu < view.cpus(); ++cpu) {
    std::vector<std::uint32_t> queues;
    for (std::uint32_t queue = 0; queue < view.queues && queue < maps.size(); ++queue) {
      if (std::ranges::find(maps[queue], cpu) != maps[queue].end()) queues.push_back(queue);
    }
    if (queues.empty()) {
      for (std::uint32_t queue = 0; queue < view.queues; ++queue) queues.push_back(queue);
    }
    for (const std::uint32_t queue : queues) load[queue].packets += kPackets / queues.size();
  }
  return model::effective_queues(load);
}

// Forwarding follows the receiving CPU, so a map only narrows it; a local sender gains from a queue of its own CPU.
std::string better_map(const TxView& view) {
  const model::DeviceRef& device = view.config->ref;
  const std::string queues = "/sys/class/net/" + device.name + "/queues";
  if (view.forwarded_share() > 0.5) {
    return "Forwarded packets spread best without a map. Clear it: " +
           words::command_in(device.netns, fmt::format("for q in {}/tx-*; do echo 0 > $q/xps_cpus; done", queues));
  }
  const std::uint32_t used = std::min({view.queues, view.cpus(), 32U});
  return "Give each queue CPUs of its own, for example: " +
         words::command_in(device.netns, fmt::format("for n in $(seq 0 {}); do printf %x $((1 << n)) > "
                                                     "{}/tx-$n/xps_cpus; done",
                                                     used - 1, queues));
}

std::optional<TxCause> uneven_map(const TxView& view, double explained) {
  TxCause cause{.name = "xps", .explained = explained};
  const auto& maps = view.config->xps_cpus;
  const auto& cpus = view.heaviest < maps.size() ? maps[view.heaviest] : std::vector<std::uint32_t>{};
  const std::string which = cpus.empty() ? "the map" : "CPUs " + words::list_of(cpus);
  cause.because =
      cpus.empty() ? "its XPS map leads there" : fmt::format("its XPS map sends {} to queue {}", which, view.heaviest);
  cause.mechanism = "get_xps_queue() takes the queue that xps_cpus gives for the sending CPU; the hash is not asked.";
  cause.advice = better_map(view);
  if (maps.empty()) {
    cause.certainty = 0.8;
    cause.notes.emplace_back("The XPS maps of the device could not be read; the packets follow one.");
  }
  return cause;
}

std::optional<TxCause> one_cpu(const TxView& view, double explained) {
  std::vector<model::QueueCount> load;
  for (const std::uint64_t packets : view.sum.sample.cpus) load.push_back({.packets = packets});
  const double effective = model::effective_queues(load);
  const auto busiest = std::ranges::max_element(load, {}, &model::QueueCount::packets);
  // A local sender on few CPUs uses their queues: XPS does what it is for, and no other CPU contends.
  if (load.empty() || effective >= thresholds::kOneCpuEffective || view.forwarded_share() <= 0.5) return std::nullopt;
  const auto cpu = busiest - load.begin();
  const double share = static_cast<double>(busiest->packets) / static_cast<double>(view.sum.sample.sampled);
  TxCause cause{.name = "forwarding-cpu", .explained = explained};
  cause.because = fmt::format("CPU {} forwards {:.0f} % of them and XPS gives it one queue", cpu, 100 * share);
  cause.mechanism =
      "get_xps_queue() maps each CPU to its own queue, and forwarding runs on the CPU that received the packet.";
  for (const OriginPart& part : view.origins) {
    if (part.origin.origin.ifindex.value == 0 || part.part < thresholds::kMinCulpritPart) continue;
    cause.culprits.push_back(
        {model::EntityKind::dev, part.origin.origin,
         static_cast<double>(part.origin.sampled()) / static_cast<double>(view.sum.sample.sampled)});
  }
  const model::DeviceRef& receiver = cause.culprits.empty() ? view.config->ref : cause.culprits.front().device;
  cause.advice = "Spread reception over the CPUs: more receive queues where there are any (ethtool -L), else RPS: " +
                 words::command_in(receiver.netns, fmt::format("echo {} > /sys/class/net/{}/queues/rx-0/rps_cpus",
                                                               words::mask_of_first(view.cpus()), receiver.name));
  cause.evidence.push_back({"share of the busiest CPU", 100 * share, "pct", 100.0 / view.cpus()});
  return cause;
}

}  // namespace

std::optional<TxCause> xps_cause(const TxView& view) {
  // More queues than CPUs cannot all be used through a 1:1 map, and need not.
  const double usable = std::min(view.queues, view.cpus());
  if (view.effective >= thresholds::kSkewRatio * usable) return std::nullopt;
  const double explained =
      view.rule_blame(QueueRule::xps) + (view.config->has_xps() ? view.rule_blame(QueueRule::socket) : 0);
  const bool by_rx_queue = std::ranges::any_of(view.config->xps_rxqs, [](const auto& map) { return !map.empty(); });
  const bool uneven = view.config->xps_cpus.empty() || effective_by_map(view) < thresholds::kSkewRatio * usable;
  std::optional<TxCause> cause = uneven || by_rx_queue ? uneven_map(view, explained) : one_cpu(view, explained);
  if (cause) {
    cause->evidence.push_back({"packets placed by XPS", 100 * view.rule_share(QueueRule::xps), "pct", std::nullopt});
  }
  return cause;
}

}  // namespace weir::reason
