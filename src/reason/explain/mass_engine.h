// The excess mass engine: blame for a window of rows, and how unusual such blame is.
#pragma once

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "reason/explain/mass.h"
#include "reason/explain/null_tail.h"

namespace weir::explain {

/// What a window says about each entity; sparse.
struct MassVerdict {
  struct Entity {
    double blame = 0;  ///< share of the symptom's excess that stays here; all add up to 1
    double sum = 0;    ///< of what each row says for it: natural logarithms of how far out it was
    double most = 0;   ///< by one row
    /// How much speaks for it. A single row of many proves nothing, whatever it says: twice the geometric mean of the
    /// best row and all the others.
    [[nodiscard]] double score(std::size_t of_rows) const;
  };
  std::map<std::uint32_t, Entity> entities{};
  /// Of the symptom's excess, what passed along an edge, and whether the edge is proposed.
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::pair<double, bool>> passed{};
  double excess = 0;  ///< of the symptom
  std::size_t rows = 0;
};

class MassEngine {
 public:
  /// The engine for a symptom, made once for a past. Nothing when the symptom's quantity does not add up.
  static std::shared_ptr<const MassEngine> of(const PastModel& past, std::uint32_t symptom, bool undirected);
  /// Of the rows from `first` up to, without, `last`.
  [[nodiscard]] MassVerdict judge(const RowsView& rows, std::size_t first, std::size_t last) const;
  /// Best scores of all healthy windows of so many rows.
  [[nodiscard]] NullTail null_tail(std::size_t rows) const;
  [[nodiscard]] const MassModel& model() const { return model_; }

 private:
  MassEngine(const PastModel& past, MassModel model, std::uint32_t symptom_entity, bool undirected);
  void learn_healthy_rows();
  void judge_row(const RowsView& rows, std::size_t row, MassVerdict& verdict, std::vector<double>& masses) const;
  const PastModel* past_;
  MassModel model_;
  std::uint32_t symptom_entity_;
  bool undirected_;
  /// What each healthy row says for which entity.
  std::vector<std::vector<std::pair<std::uint32_t, double>>> healthy_;
};

}  // namespace weir::explain
