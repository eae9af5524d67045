// The statistical engine, for symptoms whose quantity does not add up along edges: blame goes to what a regression over
// the healthy past expects the change to come from.
//
// A metric that moved is regressed on those of its neighbours' metrics that moved too, and only on those: a regression
// on all of them would share the effect out among neighbours that go together when all is well, of which the incident
// shows that they need not. What the neighbours account for is handed on to them, the rest stays.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reason/explain/blame_flow.h"
#include "reason/explain/mass.h"
#include "reason/explain/null_tail.h"
#include "reason/explain/standard_columns.h"

namespace weir::explain {

struct StatisticsVerdict {
  struct Entity {
    double blame = 0;
    double score = 0;
    std::uint32_t metric = 0;  ///< that keeps most of it
  };
  std::map<std::uint32_t, Entity> entities{};  ///< with the symptom's; blame adds up to 1
  /// Parts of the symptom's change that passed between entities, and whether no edge says so.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<double, bool>> passed{};
  double symptom_out = 0;  ///< its change over what is unusual
  [[nodiscard]] double best(std::uint32_t symptom_entity) const;
};

class StatisticsEngine {
 public:
  StatisticsEngine(const PastModel& past, std::uint32_t symptom, bool undirected);
  /// By the means over the rows from `first` up to, without, `last`.
  [[nodiscard]] StatisticsVerdict judge(const RowsView& rows, std::size_t first, std::size_t last);
  /// Best scores of healthy windows of so many rows.
  /// Worked out once; valid as long as the engine.
  [[nodiscard]] const NullTail& null_tail(std::size_t rows);

 private:
  /// How far the mean of a window is out, in the scale of such means when all is well.
  struct Moved {
    double by = 0;        ///< scales of window means
    double standard = 0;  ///< standard deviations of single rows: what regressions are in
  };
  class Walk;
  const Moved& moved(const RowsView& rows, std::size_t first, std::size_t last, std::uint32_t metric);
  double mean_scale(std::uint32_t metric, std::size_t length);

  const PastModel* past_;
  std::uint32_t symptom_;
  bool undirected_;
  StandardColumns columns_;
  std::map<std::size_t, NullTail> null_tails_;                                    ///< by length
  std::map<std::size_t, std::unordered_map<std::uint32_t, double>> mean_scales_;  ///< by length, by metric
  std::unordered_map<std::uint32_t, Moved> moved_;                                ///< of the window in work
};

}  // namespace weir::explain
