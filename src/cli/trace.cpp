// weir trace: what happens to packets, journey by journey.
#include "cli/trace.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "base/units.h"
#include "cli/device_argument.h"
#include "cli/session.h"
#include "netns/netns.h"
#include "observe/trace/bpf/trace_abi.h"
#include "observe/trace/function_rung.h"

namespace weir::cli {

namespace {

constexpr std::size_t kSmallestRing = 4096;
constexpr std::size_t kLargestRing = std::size_t{1} << 30U;

Result<observe::HookChoice> choose_hooks(const TraceOptions& options, bool& stack) {
  observe::HookChoice hooks;
  std::string profile = options.profile;
  if (options.drops && !profile.empty()) {
    return fail(Errc::usage, "--drops is --profile drops: give one of both");
  }
  if (options.drops) profile = "drops";
  // Hooks that were named replace the default ones; beside a profile they are added to its own.
  if (!profile.empty() || options.probes.empty()) {
    auto found = observe::find_profile(profile.empty() ? "default" : profile);
    if (!found) return pass(std::move(found));
    hooks = found->hooks;
    stack = stack || found->stack;
  }
  for (const std::string& probe : options.probes) {
    if (auto added = observe::add_probe(hooks, probe); !added) return pass(std::move(added));
  }
  return hooks;
}

/// Where programs of netfilter and tc go, and the rules of --nft: the namespaces and the device that were named, else
/// all that have devices.
Result<void> choose_places(const TraceOptions& options, const model::HostConfig& config,
                           observe::TraceRequest& request) {
  std::vector<std::string> namespaces = options.in;
  if (namespaces.empty()) namespaces.emplace_back("all");
  std::vector<model::DeviceRef> devices;
  for (const std::string& name : namespaces) {
    auto some = find_devices(config, options.device, name);
    if (!some) return pass(std::move(some), "--in");
    devices.insert(devices.end(), some->begin(), some->end());
  }
  std::ranges::sort(devices);
  const auto [first, last] = std::ranges::unique(devices);
  devices.erase(first, last);
  if (request.hooks.tcx) request.tcx_devices = devices;
  for (const model::DeviceRef& device : devices) {
    if (request.nf_namespaces.empty() || request.nf_namespaces.back() != device.netns) {
      request.nf_namespaces.push_back(device.netns);
    }
  }
  return {};
}

Result<observe::TraceRequest> make_request(const TraceOptions& options) {
  observe::TraceRequest request;
  request.filter = fmt::format("{}", fmt::join(options.filter, " "));
  request.stack = options.stack;
  auto hooks = choose_hooks(options, request.stack);
  if (!hooks) return pass(std::move(hooks));
  request.hooks = *std::move(hooks);
  request.sample_flows = options.sample;
  request.btf_path = options.btf_path;
  auto ring = parse_size(options.ring, "--ring");
  if (!ring) return pass(std::move(ring));
  if (*ring < kSmallestRing) return fail(Errc::usage, fmt::format("--ring {}: 4k is the least", options.ring));
  request.ring_bytes = *ring;
  if (!options.view.watch.empty()) {
    auto mask = watch_mask(options.view.watch);
    if (!mask) return pass(std::move(mask));
    request.watch_mask = *mask;
  }
  if (!options.netns.empty() && options.netns != "all") {
    auto ns = netns::Netns::open(options.netns);
    if (!ns) return pass(std::move(ns), "--netns");
    request.only_netns = ns->id();
  }
  return request;
}

std::string functions_text(observe::FunctionRung rung) {
  if (rung == observe::FunctionRung::none) return "this kernel, or this user, cannot look at them";
  return fmt::format("by {} here", to_string(rung));
}

Result<Exit> list_hooks() {
  std::cout << "tracepoints (seen in every namespace)\n";
  for (const observe::Tracepoint& one : observe::tracepoints()) {
    std::cout << fmt::format("  {:<30}{}\n", one.name, one.begins ? "journeys may begin here" : "");
  }
  std::cout << "netfilter, in the namespaces of --in (all without it), at PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT "
               "and POST_ROUTING\n";
  for (const observe::NfSlot& slot : observe::nf_slots()) {
    std::cout << fmt::format("  nf:{:<27}priority {}\n", slot.name, slot.priority);
  }
  std::cout << "tc programs at the devices of --dev (all without it)\n  tcx\n"
               "functions of the kernel with a sk_buff\n"
            << fmt::format("  {:<30}{}\n", "fn:NAME, fn:NAME*", functions_text(observe::function_rung()))
            << "profiles\n";
  for (const observe::Profile& profile : observe::profiles()) {
    std::cout << fmt::format("  {:<30}{}\n", profile.name, profile.description);
  }
  return Exit::done;
}

/// Those that do not go together on a live host.
Result<void> check_options(const TraceOptions& options) {
  const TraceView& view = options.view;
  if (auto checked = check_view(view); !checked) return checked;
  const bool in_kernel = view.paths || !view.watch.empty();
  if (!options.output.empty() && (in_kernel || view.latency)) {
    return fail(Errc::usage, "-o records instead of showing: --paths, --watch and --latency do not go with it",
                "give them to weir show FILE");
  }
  if (options.nft && in_kernel) {
    return fail(Errc::usage, "--nft names rules in journeys: --paths and --watch show none");
  }
  if (in_kernel && (options.count != 0 || !view.where.empty() || !view.slower.empty())) {
    return fail(Errc::usage,
                "--paths and --watch count all packets in the kernel: --where, --slower and --count are for journeys",
                "choose packets by a filter, --netns or --sample, or record and give them to weir show");
  }
  return {};
}

Result<Exit> trace(const TraceOptions& options) {
  if (options.list_hooks) return list_hooks();
  if (auto checked = check_options(options); !checked) return pass(std::move(checked));
  auto request = make_request(options);
  if (!request) return pass(std::move(request));
  if (auto possible = require_data_plane(options.btf_path); !possible) return pass(std::move(possible));
  if (request->hooks.tcx || !request->hooks.nf_slots.empty() || options.nft) {
    const auto config = read_host_config();
    if (!config) return std::unexpected(config.error());
    if (auto placed = choose_places(options, *config, *request); !placed) return pass(std::move(placed));
  }
  if (!options.output.empty()) return trace_recording(options, *request);
  if (options.view.paths) return trace_paths(options, *std::move(request));
  if (!options.view.watch.empty()) return trace_changes(options, *std::move(request));
  return trace_journeys(options, *std::move(request));
}

}  // namespace

Result<std::size_t> parse_size(const std::string& text, const std::string& option) {
  std::string_view digits = text;
  std::size_t unit = 1;
  if (digits.ends_with('k') || digits.ends_with('K')) unit = std::size_t{1} << 10U;
  if (digits.ends_with('m') || digits.ends_with('M')) unit = std::size_t{1} << 20U;
  if (digits.ends_with('g') || digits.ends_with('G')) unit = std::size_t{1} << 30U;
  if (unit != 1) digits.remove_suffix(1);
  const auto number = parse_u64(digits);
  if (!number || *number == 0 || *number > kLargestRing / unit) {
    return fail(Errc::usage, fmt::format("{} {}: a size up to 1G is expected", option, text), "as 256k, 16M");
  }
  return *number * unit;
}

Result<void> check_view(const TraceView& view) {
  if ((view.paths ? 1 : 0) + (view.watch.empty() ? 0 : 1) + (view.latency ? 1 : 0) > 1) {
    return fail(Errc::usage, "--paths, --watch and --latency exclude each other");
  }
  if (!view.html.empty() && !view.paths) return fail(Errc::usage, "--html is the picture of --paths: give both");
  return {};
}

void add_view_options(CLI::App& command, TraceView& view) {
  add_word_option(command, "--where", view.where, "Only journeys with an event for which this holds");
  add_word_option(command, "--slower", view.slower, "Only journeys that take longer (1ms)");
  add_word_option(command, "--watch", view.watch,
                  "Instead of journeys, count changes of fields: "
                  "queue_mapping,mark,hash,priority,len,gso_segs,vlan,dev,netns");
  command.add_flag("--paths", view.paths, "Instead of journeys, count distinct paths, with the time of each stretch");
  add_word_option(command, "--html", view.html, "With --paths: also a picture, as a page that stands on its own")
      ->type_name("FILE");
  command.add_flag("--latency", view.latency, "Instead of journeys, how long packets take for each stretch of the way");
  command.add_flag("-v,--verbose", view.verbose, "Every field that changed, sockets, sequence numbers");
  add_json_option(command, view.json);
}

void add_trace(CLI::App& app, Program& program) {
  auto options = std::make_shared<TraceOptions>();
  CLI::App* command =
      app.add_subcommand("trace", "Follow packets through the kernel: what changed, held or dropped them");
  command->add_option("FILTER", options->filter, "Which packets, in the language of tcpdump(8); all without it");
  add_word_option(*command, "--profile", options->profile, "Which hooks: a name (--list-hooks) or a file");
  command->add_option("--probe", options->probes, "A hook; beside a profile one more (--list-hooks)")
      ->allow_extra_args(false);
  command->add_flag("--drops", options->drops, "Only where packets are dropped");
  command->add_flag("--stack", options->stack, "Stacks of the kernel");
  command->add_flag("--nft", options->nft,
                    "Name the nftables rules that packets meet: adds a table to the namespaces while it runs");
  add_word_option(*command, "-o,--output", options->output, "Record instead of showing")->type_name("FILE");
  add_word_option(*command, "--rotate", options->rotate, "With -o: a new file before one grows past this (64M)");
  command->add_option("--max-files", options->max_files, "With --rotate: how many files are kept");
  command->add_flag("--overwrite", options->overwrite, "With -o: replace a file of that name");
  add_word_option(*command, "--netns", options->netns, "Take packets up in this namespace, follow them everywhere");
  command->add_option("--in", options->in, "Namespaces where programs of netfilter and tc go, and --nft's rules")
      ->delimiter(',')
      ->allow_extra_args(false);
  add_word_option(*command, "--dev", options->device, "Where tc programs are attached (with tcx)");
  add_word_option(*command, "--for", options->duration, "How long; until Ctrl-C without it");
  command->add_option("--sample", options->sample, "Follow one flow in N")->check(CLI::Range(1U, 1U << 30U));
  add_word_option(*command, "--ring", options->ring, "Room for events that wait to be read")
      ->default_str(options->ring);
  command->add_option("--count", options->count, "End after so many journeys");
  command->add_flag("--list-hooks", options->list_hooks, "What can be attached, and the profiles");
  add_btf_option(*command, options->btf_path);
  add_view_options(*command, options->view);
  command->callback([options, &program] { program.action = [options] { return trace(*options); }; });
}

}  // namespace weir::cli
