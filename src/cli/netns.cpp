// weir netns: what the host's namespaces are.
#include "cli/netns.h"

#include <algorithm>

#include "base/text.h"
#include "netns/census.h"

namespace weir::cli {

namespace {

/// Whatever holds it: a census knows more than the names and processes that the library tries.
Result<netns::Netns> open_by_id(const std::string& spec) {
  const auto id = parse_u64(std::string_view(spec).substr(3));
  if (!id) return fail(Errc::usage, "\"" + spec + "\": expected a namespace id after \"id:\"");
  const auto census = netns::take_census({.deep = true, .look_inside = false});
  if (!census) return std::unexpected(census.error());
  const auto found = std::ranges::find(census->residents, *id, &netns::Resident::id);
  if (found != census->residents.end()) return netns::open(*found);
  return fail(Errc::not_found, "no network namespace has id " + std::to_string(*id), "ids hold for one boot");
}

}  // namespace

Result<netns::Netns> open_named_netns(const std::string& spec) {
  auto ns = netns::Netns::open(spec);
  if (!ns && ns.error().code == Errc::not_found && spec.starts_with("id:")) ns = open_by_id(spec);
  if (ns) return ns;
  Error error = std::move(ns).error();
  if (error.code == Errc::not_found) {
    error.code = Errc::usage;
    if (error.hint.empty()) error.hint = "all that exist: weir netns list";
  }
  if (error.code == Errc::permission && error.hint.empty()) error.hint = "run as root (CAP_SYS_ADMIN)";
  return std::unexpected(std::move(error));
}

void add_netns(CLI::App& app, Program& program) {
  CLI::App* netns =
      app.add_subcommand("netns", "The network namespaces of this host: who they are, who comes and goes");
  netns->require_subcommand(1);
  add_netns_list(*netns, program);
  add_netns_watch(*netns, program);
  add_netns_exec(*netns, program);
  add_netns_bench(*netns, program);
  add_netns_torture(*netns, program);
}

}  // namespace weir::cli
