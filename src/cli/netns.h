// The commands of `weir netns`, one file each.
#pragma once

#include <string>

#include "cli/command.h"
#include "netns/netns.h"

namespace weir::cli {

void add_netns_list(CLI::App& netns, Program& program);
void add_netns_watch(CLI::App& netns, Program& program);
void add_netns_exec(CLI::App& netns, Program& program);
void add_netns_bench(CLI::App& netns, Program& program);
void add_netns_torture(CLI::App& netns, Program& program);

/// A namespace that a person named: a name, a path, pid:N, id:N or init. One that does not exist is wrong usage, with
/// the nearest names. An id is looked for wherever namespaces can be held, descriptors of processes included.
Result<netns::Netns> open_named_netns(const std::string& spec);

}  // namespace weir::cli
