#include "lab/build.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "bpf/skeleton.h"
#include "lab/exec.h"
#include "netns/netns.h"
#include "set_queue.skel.h"
#include "sys/poll_until.h"

namespace weir::lab {

namespace {

/// One batch of one tool in one namespace; nothing runs for an empty one.
Result<void> batch(const char* tool, const std::string& netns, const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  auto done = run_tool({tool, "-n", netns, "-batch", "-"}, fmt::format("{}\n", fmt::join(lines, "\n")));
  if (!done) return pass(std::move(done));
  return {};
}

/// `ip netns exec` gives the script the namespace's own /sys.
Result<void> shell(const std::string& netns, const std::vector<std::string>& lines) {
  if (lines.empty()) return {};
  auto done = run_tool({"ip", "netns", "exec", netns, "sh", "-e"}, fmt::format("{}\n", fmt::join(lines, "\n")));
  if (!done) return pass(std::move(done));
  return {};
}

Result<void> inject(const Injection& injection) {
  auto netns = netns::Netns::open(injection.netns);
  if (!netns) return pass(std::move(netns));
  return netns::run_in(*netns, [&]() -> Result<void> {
    const std::string context = "injecting at " + injection.netns + "/" + injection.dev;
    auto skeleton = bpf::Skeleton<set_queue>::open();
    if (!skeleton) return pass(std::move(skeleton), context);
    skeleton->get().rodata->queue_mapping = injection.queue_mapping;
    if (auto ok = skeleton->load(); !ok) return pass(std::move(ok), context);
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(if_nametoindex(injection.dev.c_str()));
    hook.attach_point = BPF_TC_INGRESS;
    if (const int err = bpf_tc_hook_create(&hook); err != 0) return fail_errno(err, context);
    bpf_tc_opts options{};
    options.sz = sizeof(options);
    options.prog_fd = bpf_program__fd(skeleton->get().progs.lab_set_queue);
    // The filter holds the program, the device holds the filter: all of it goes with the namespace.
    if (const int err = bpf_tc_attach(&hook, &options); err != 0) return fail_errno(err, context);
    return {};
  });
}

/// A bridge loses what it is given until the kernel has noticed that its ports have a carrier, up to a second later
/// (net/core/link_watch.c).
Result<void> await_bridges(const Blueprint& blueprint) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (const DevicePlan& device : blueprint.devices) {
    if (device.role != "bridge") continue;
    Result<std::string> state = std::string();
    const bool up = sys::poll_until(deadline, [&] {
      state = run_tool({"ip", "-n", device.netns, "-o", "link", "show", "dev", device.dev});
      return !state || state->find("state UP") != std::string::npos;
    });
    if (!state) return pass(std::move(state));
    if (!up) return fail(Errc::failed, fmt::format("{}/{} does not come up", device.netns, device.dev));
  }
  return {};
}

Result<void> set_gro(const std::string& netns_name, const std::string& dev) {
  auto netns = netns::Netns::open(netns_name);
  if (!netns) return pass(std::move(netns));
  auto socket = netns::open_socket(*netns, AF_INET, SOCK_DGRAM, 0);
  if (!socket) return pass(std::move(socket));
  ethtool_value value{.cmd = ETHTOOL_SGRO, .data = 1};
  ifreq request{};
  std::copy_n(dev.c_str(), std::min<std::size_t>(dev.size(), IFNAMSIZ - 1), request.ifr_name);
  request.ifr_data = reinterpret_cast<char*>(&value);
  if (ioctl(socket->get(), SIOCETHTOOL, &request) != 0) {
    return fail_errno(errno, "switching GRO on at " + netns_name + "/" + dev);
  }
  return {};
}

}  // namespace

Result<void> build(const Blueprint& blueprint) {
  for (const NamespacePlan& netns : blueprint.namespaces) {
    if (auto ok = shell(netns.name, netns.early_shell); !ok) return ok;
  }
  for (const NamespacePlan& netns : blueprint.namespaces) {
    if (auto ok = batch("ip", netns.name, netns.links); !ok) return ok;
  }
  for (const NamespacePlan& netns : blueprint.namespaces) {
    if (auto ok = batch("ip", netns.name, netns.ip); !ok) return ok;
    if (auto ok = batch("bridge", netns.name, netns.bridge); !ok) return ok;
    if (auto ok = batch("tc", netns.name, netns.tc); !ok) return ok;
    if (auto ok = shell(netns.name, netns.shell); !ok) return ok;
  }
  for (const auto& [netns, dev] : blueprint.gro_on) {
    if (auto ok = set_gro(netns, dev); !ok) return ok;
  }
  for (const Injection& injection : blueprint.injections) {
    if (auto ok = inject(injection); !ok) return ok;
  }
  return await_bridges(blueprint);
}

}  // namespace weir::lab
