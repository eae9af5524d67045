// weir netns list: every namespace, however it is held, and who lives in it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/netns.h"
#include "cli/render_netns.h"
#include "model/json.h"
#include "netns/census.h"
#include "observe/workloads/workload_ref.h"
#include "sys/clock.h"
#include "sys/file_tree.h"

namespace weir::cli {

namespace {

struct ListOptions {
  bool json = false;
  bool deep = false;
  std::string netns;
};

std::vector<model::ProcessRef> refs(const std::vector<netns::Member>& members) {
  std::vector<model::ProcessRef> all;
  all.reserve(members.size());
  for (const netns::Member& member : members) all.push_back({member.pid, member.comm});
  return all;
}

model::NamespaceState state_of(netns::Resident resident) {
  model::NamespaceState state;
  state.id = resident.id;
  state.inode = resident.inode;
  state.display = resident.display();
  state.processes = refs(resident.processes);
  state.threads = refs(resident.threads);
  state.names = std::move(resident.names);
  state.mounts = std::move(resident.mounts);
  state.pids = std::move(resident.pids);
  for (const netns::HoldingFd& holder : resident.holders) {
    state.holders.push_back({holder.pid, holder.fd, holder.socket ? "socket" : "namespace"});
  }
  if (resident.workload) {
    state.workload = observe::workload_ref(*resident.workload);
  }
  state.devices = std::move(resident.devices);
  state.sockets = resident.sockets;
  if (resident.since) {
    state.since = resident.since->time;
    state.since_source = resident.since->source == netns::Since::Source::mount ? "mount" : "process";
  }
  return state;
}

Result<std::string> read_boot_id() {
  const auto root = sys::FileTree::open();
  if (!root) return std::unexpected(root.error());
  return root->text("proc/sys/kernel/random/boot_id");
}

Result<Exit> run_list(const ListOptions& options) {
  std::optional<netns::Netns> only;
  if (!options.netns.empty() && options.netns != "all") {
    auto named = open_named_netns(options.netns);
    if (!named) return std::unexpected(std::move(named).error().with_context("--netns"));
    only = std::move(*named);
  }
  auto census = netns::take_census({.deep = options.deep});
  if (!census) return pass(std::move(census));
  auto boot_id = read_boot_id();
  if (!boot_id) return pass(std::move(boot_id));
  model::NamespaceList list;
  list.boot_id = std::move(*boot_id);
  for (netns::Resident& resident : census->residents) {
    if (!only || resident.id == only->id()) list.namespaces.push_back(state_of(std::move(resident)));
  }
  list.unreadable = std::move(census->gaps.unreadable);
  list.hidden = std::move(census->gaps.hidden);
  if (options.json) {
    std::cout << model::to_json(list).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  } else {
    std::cout << render_namespaces(list, sys::SystemClock().realtime());
  }
  return Exit::done;
}

}  // namespace

void add_netns_list(CLI::App& netns, Program& program) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = netns.add_subcommand("list", "Every network namespace: names, processes, devices, sockets");
  command->add_option("--netns", options->netns, "Only this one (name, path, pid:N, id:N)");
  command->add_flag("--deep", options->deep,
                    "Look through the descriptors of all processes too, for namespaces held by nothing else");
  add_json_option(*command, options->json);
  command->footer(
      "Examples:\n  weir netns list\n  weir netns list --deep\n"
      "  weir netns list --json | jq '.namespaces[] | select(.pids == [])'");
  command->callback([options, &program] { program.action = [options] { return run_list(*options); }; });
}

}  // namespace weir::cli
