// What both kinds of made-up systems have in common: see synthetic_incidents.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "reason/explain/random.h"
#include "support/synthetic_incidents.h"

namespace weir::test {

/// Something that goes wrong with one metric of an entity from a row on.
struct Fault {
  std::uint32_t entity = 0;
  std::uint32_t metric = 0;
  double size = 0;
  bool root = false;  ///< else an anomaly that has nothing to do with the symptom
};

/// A system that can be simulated again and again with the same noise.
class World {
 public:
  virtual ~World() = default;
  [[nodiscard]] virtual SyntheticIncident incident() const = 0;
  [[nodiscard]] virtual explain::Table window_without(const std::vector<std::string>& entities) const = 0;

  static constexpr std::size_t rows_before = 10;
  static constexpr double step_s = 60;
};
std::unique_ptr<World> make_structural_world(Family family, std::uint64_t seed);
std::unique_ptr<World> make_service_world(std::uint64_t seed);

inline double between(explain::Random& random, double low, double high) {
  return low + (high - low) * random.uniform();
}
inline std::uint32_t between(explain::Random& random, std::uint32_t low, std::uint32_t high) {
  return low + random.below(high - low + 1);
}
inline bool chance(explain::Random& random, double share) {
  return random.uniform() < share;
}

/// Callees of each entity: 0 is at the front, and each calls some that come later.
inline std::vector<std::vector<std::uint32_t>> random_dag(std::uint32_t entities, explain::Random& random) {
  std::vector<std::vector<std::uint32_t>> callees(entities);
  for (std::uint32_t i = 1; i < entities; ++i) {
    std::set<std::uint32_t> callers;
    // Mostly near ones, so that chains get long.
    for (std::uint32_t k = between(random, 1U, 2U); k > 0; --k) {
      const std::uint32_t reach = std::min(i, between(random, 1U, 8U));
      callers.insert(i - between(random, 1U, reach));
    }
    for (const std::uint32_t caller : callers) callees[caller].push_back(i);
  }
  return callees;
}

inline explain::Graph graph_of(const std::vector<std::vector<std::uint32_t>>& callees) {
  explain::Graph graph;
  for (std::uint32_t i = 0; i < callees.size(); ++i) {
    graph.entities.push_back("e" + std::to_string(i));
    for (const std::uint32_t callee : callees[i]) graph.edges.push_back({i, callee});
  }
  return graph;
}

}  // namespace weir::test
