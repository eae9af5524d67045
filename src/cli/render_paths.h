// Paths of packets for a person: as text, and as a page with a picture.
#pragma once

#include <string>

#include "model/paths.h"

namespace weir::cli {

struct PathsStyle {
  bool verbose = false;  ///< every path, and a line a hook with all that is known of its times
  bool color = false;
};

/// Each path with its share of the packets, how it ended, and the time of each stretch.
std::string render_paths(const model::PathTree& tree, const PathsStyle& style);

/// A page that stands on its own, without anything from a network: a box for each stop below the one before it, as wide
/// as its share of the packets or, at a click, of the time; coloured by namespace, drops red.
std::string render_paths_page(const model::PathTree& tree, const std::string& title);

}  // namespace weir::cli
