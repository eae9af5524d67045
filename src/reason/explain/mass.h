// Excess mass: deviations as quantities that add up along calls. A second that each of 500 requests waits for another
// service is 500 request-seconds there and here; a failed request below is a failed request above.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "reason/explain/blame_flow.h"
#include "reason/explain/model.h"

namespace weir::explain {

/// The metrics from which an entity's mass is made.
struct MassSource {
  std::uint32_t value = 0;                ///< of the symptom's quantity
  std::optional<std::uint32_t> requests;  ///< how many shared it
};

/// Where the values of one row come from: the healthy past or a window.
struct RowsView {
  const float* values = nullptr;
  std::size_t rows = 0;
  [[nodiscard]] std::span<const float> series(std::uint32_t metric) const {
    return {values + static_cast<std::size_t>(metric) * rows, rows};
  }
  [[nodiscard]] float at(std::uint32_t metric, std::size_t row) const {
    return values[static_cast<std::size_t>(metric) * rows + row];
  }
};
RowsView healthy_rows(const PastModel& past);
RowsView window_rows(const Case& incident);

/// Masses of the symptom's quantity for every entity that has it.
class MassModel {
 public:
  /// Nothing when the symptom's quantity does not add up, no other entity has it, or what callees take in all when all
  /// is well is more than their callers can have waited for: then the numbers mean something else than their names say.
  static std::optional<MassModel> make(const PastModel& past, std::uint32_t symptom);

  /// Excess mass of every entity at a row, 0 where it is within what is usual (3 scales), except for the symptom's
  /// entity, which counts from its centre on.
  void masses(const RowsView& rows, std::size_t row, std::vector<double>& result) const;
  /// Mass at which an entity is out of what is usual.
  [[nodiscard]] double unusual(std::uint32_t entity) const { return unusual_[entity]; }
  [[nodiscard]] const std::optional<MassSource>& source(std::uint32_t entity) const { return sources_[entity]; }
  [[nodiscard]] Quantity quantity() const { return quantity_; }
  /// "s" or "failures" …
  [[nodiscard]] std::string_view unit() const;

 private:
  /// Of a usual row; 0 where it cannot be told.
  [[nodiscard]] double usual_total(std::uint32_t entity) const;
  [[nodiscard]] bool adds_up_here() const;
  [[nodiscard]] double mass(std::uint32_t entity, const RowsView& rows, std::size_t row) const;
  const PastModel* past_ = nullptr;
  std::uint32_t symptom_entity_ = 0;
  Quantity quantity_ = Quantity::other;
  double percent_ = 1;  ///< what an availability of "all" is
  std::vector<std::optional<MassSource>> sources_;
  std::vector<float> usual_requests_;
  std::vector<double> centre_;
  std::vector<double> scale_;
  std::vector<double> unusual_;
};

/// Who accounts for whose mass: callees up to their own mass; what no known caller can have asked for is proposed to
/// whoever has something left over.
Shares mass_shares(const PastModel& past, const std::vector<double>& masses, std::uint32_t symptom_entity,
                   bool undirected);

}  // namespace weir::explain
