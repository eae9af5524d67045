// Who takes part in the torture.
#pragma once

#include <memory>
#include <vector>

#include "netns/torture/actor.h"

namespace weir::netns::torture {

/// Goes where the dice say: nested scopes, sockets, listeners, settings, exceptions, forks, threads, strangers' setns.
std::unique_ptr<Actor> make_visitor(Stage& stage, std::string name, bool worker);
/// Replaces namespaces of the pool, with and without names, reusing names at once; opens them in every way.
std::unique_ptr<Actor> make_churner(Stage& stage, std::string name);
/// Gives names below `folder` and /run/netns in every order in which programs do it, and listens to the registry, one
/// thread for each source that this kernel has.
Result<std::vector<std::unique_ptr<Actor>>> make_publisher_and_watchers(Stage& stage, const std::string& folder);
/// Tenants with the same address and port served by one reactor, and who asks them for their name.
Result<std::vector<std::unique_ptr<Actor>>> make_echo_server_and_client(Stage& stage);
/// Injects faults.
std::unique_ptr<Actor> make_saboteur(Stage& stage, std::string name);

}  // namespace weir::netns::torture
