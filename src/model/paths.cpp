#include "model/paths.h"

namespace weir::model {

std::uint64_t PathTree::packets() const {
  std::uint64_t sum = 0;
  for (const PacketPath& path : paths) sum += path.packets;
  return sum;
}

std::uint64_t PathTree::mean_ns(const PacketPath& path) const {
  std::uint64_t sum = 0;
  for (const std::size_t stop : path.stops) sum += stops[stop].time.mean_ns();
  return sum;
}

}  // namespace weir::model
