// The builder functions that the table of scenarios takes from files of their own.
#pragma once

#include "lab/blueprint.h"

namespace weir::lab {

// scenarios_paths.cpp: packets arrive, changed on their way.
Result<Blueprint> draw_nat(const Options& options);
Result<Blueprint> draw_vxlan(const Options& options);
Result<Blueprint> draw_bridge(const Options& options);
Result<Blueprint> draw_veth_chain(const Options& options);

// scenarios_drops.cpp: some packets do not arrive.
Result<Blueprint> draw_nft_drop(const Options& options);
Result<Blueprint> draw_rp_filter(const Options& options);
Result<Blueprint> draw_no_route(const Options& options);
Result<Blueprint> draw_mtu(const Options& options);
Result<Blueprint> draw_mtu_blackhole(const Options& options);
Result<Blueprint> draw_rcvbuf(const Options& options);
Result<Blueprint> draw_listen_overflow(const Options& options);

}  // namespace weir::lab
