// Series with mean 0 and variance 1, laid out for vector instructions: what correlations and regressions are made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "reason/explain/model.h"

namespace weir::explain {

/// Columns of the past, and of a case below them when one is given, standardised at first need. A missing value is 0,
/// which is the mean.
class StandardColumns {
 public:
  struct Moments {
    float mean = 0;
    float sd = 0;              ///< 0 when the column never changes
    std::uint32_t values = 0;  ///< that were not missing
  };

  /// Both must outlive the columns.
  explicit StandardColumns(const PastModel& past, const Case* incident = nullptr);

  /// Rows with what is added to make whole vectors; the added ones are 0.
  [[nodiscard]] std::size_t stride() const { return stride_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] const PastModel& past() const { return *past_; }

  /// Valid as long as this object.
  const float* column(std::uint32_t metric);
  /// Of the column before it was standardised. Call column() first.
  [[nodiscard]] const Moments& moments(std::uint32_t metric) const { return moments_[metric]; }
  /// Whether the value at a row was measured.
  [[nodiscard]] bool measured(std::uint32_t metric, std::size_t row) const;

 private:
  static constexpr std::size_t columns_a_block = 64;
  float* room();

  const PastModel* past_;
  const Case* incident_;
  std::size_t rows_;
  std::size_t stride_;
  std::vector<std::uint32_t> slots_;  ///< by metric; one more than its place, 0: not there yet
  std::vector<Moments> moments_;      ///< by metric
  std::vector<std::unique_ptr<float[]>> blocks_;
  std::uint32_t used_ = 0;
};

/// Sums of products of `left` with each of `right`, all of `stride` values (a multiple of 16).
void dot_products(const float* left, std::span<const float* const> right, std::size_t stride, float* sums);
/// target += sum of factor times column.
void add_columns(float* target, std::span<const float* const> columns, std::span<const float> factors,
                 std::size_t stride);

}  // namespace weir::explain
