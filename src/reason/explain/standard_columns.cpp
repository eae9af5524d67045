// Standardising, and the two loops in which learning conditionals spends its time.
#include "reason/explain/standard_columns.h"

#include <algorithm>
#include <cmath>
#include <limits>

// The baseline of x86-64 has four lanes; most machines have eight. Sanitizers cannot run the resolvers that choose.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define WEIR_WIDEST [[gnu::target_clones("arch=x86-64-v3", "default")]]
#else
#define WEIR_WIDEST
#endif

namespace weir::explain {

namespace {

constexpr std::size_t lanes = 16;

/// The values that were measured, as sums of x - shift and its square.
struct Sums {
  float first = 0;
  float second = 0;
  float values = 0;
};

inline bool is_value(float x) {
  return std::abs(x) <= std::numeric_limits<float>::max();
}

WEIR_WIDEST Sums sums_about(const float* values, std::size_t stride, float shift) {
  Sums sums;
  for (std::size_t i = 0; i < stride; ++i) {
    const bool measured = is_value(values[i]);
    const float d = measured ? values[i] - shift : 0;
    sums.first += d;
    sums.second += d * d;
    sums.values += measured ? 1.0F : 0.0F;
  }
  return sums;
}

WEIR_WIDEST void scale_in_place(float* values, std::size_t stride, float mean, float factor) {
  for (std::size_t i = 0; i < stride; ++i) {
    values[i] = is_value(values[i]) ? (values[i] - mean) * factor : 0;
  }
}

/// Four at a time: one load of `left` serves all.
WEIR_WIDEST void four_dot_products(const float* left, const float* const* right, std::size_t stride, float* sums) {
  const float* const right0 = right[0];
  const float* const right1 = right[1];
  const float* const right2 = right[2];
  const float* const right3 = right[3];
  float sum0 = 0;
  float sum1 = 0;
  float sum2 = 0;
  float sum3 = 0;
  for (std::size_t i = 0; i < stride; ++i) {
    sum0 += left[i] * right0[i];
    sum1 += left[i] * right1[i];
    sum2 += left[i] * right2[i];
    sum3 += left[i] * right3[i];
  }
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}

WEIR_WIDEST void add_scaled(float* __restrict target, const float* column, float factor, std::size_t stride) {
  for (std::size_t i = 0; i < stride; ++i) target[i] += column[i] * factor;
}

StandardColumns::Moments moments_of(const float* values, std::size_t stride) {
  const Sums rough = sums_about(values, stride, 0);
  if (rough.values == 0) return {};
  const auto shift = static_cast<float>(rough.first / rough.values);
  if (!std::isfinite(shift)) return {};
  // About its rough mean, so that a large level does not drown a small variance.
  const Sums sums = sums_about(values, stride, shift);
  const double count = sums.values;
  const double offset = sums.first / count;
  const double variance = std::max(0.0, sums.second / count - offset * offset);
  const auto mean = static_cast<float>(shift + offset);
  const auto sd = static_cast<float>(std::sqrt(variance));
  // What is left of a constant is rounding.
  const bool constant = !std::isfinite(sd) || sd <= 1e-6F * std::abs(mean) || sd < 1e-30F;
  return {mean, constant ? 0 : sd, static_cast<std::uint32_t>(sums.values)};
}

}  // namespace

StandardColumns::StandardColumns(const PastModel& past, const Case* incident)
    : past_(&past),
      incident_(incident),
      rows_(past.rows() + (incident != nullptr ? incident->rows() : 0)),
      stride_((rows_ + lanes - 1) / lanes * lanes),
      slots_(past.metrics.size(), 0),
      moments_(past.metrics.size()) {}

float* StandardColumns::room() {
  if (used_ % columns_a_block == 0) {
    blocks_.push_back(std::make_unique_for_overwrite<float[]>(columns_a_block * stride_));
  }
  return blocks_.back().get() + (used_++ % columns_a_block) * stride_;
}

const float* StandardColumns::column(std::uint32_t metric) {
  if (const std::uint32_t slot = slots_[metric]; slot != 0) {
    return blocks_[(slot - 1) / columns_a_block].get() + ((slot - 1) % columns_a_block) * stride_;
  }
  float* const values = room();
  slots_[metric] = used_;
  float* end = std::ranges::copy(past_->series(metric), values).out;
  if (incident_ != nullptr) end = std::ranges::copy(incident_->series(metric), end).out;
  std::fill(end, values + stride_, missing);
  const Moments moments = moments_of(values, stride_);
  scale_in_place(values, stride_, moments.mean, moments.sd > 0 ? 1 / moments.sd : 0);
  moments_[metric] = moments;
  return values;
}

bool StandardColumns::measured(std::uint32_t metric, std::size_t row) const {
  const std::size_t healthy = past_->rows();
  return std::isfinite(row < healthy ? past_->series(metric)[row] : incident_->series(metric)[row - healthy]);
}

void dot_products(const float* left, std::span<const float* const> right, std::size_t stride, float* sums) {
  std::size_t i = 0;
  for (; i + 4 <= right.size(); i += 4) four_dot_products(left, right.data() + i, stride, sums + i);
  if (i == right.size()) return;
  const float* rest[4] = {right[i], right[i], right[i], right[i]};
  float some[4];
  for (std::size_t k = i; k < right.size(); ++k) rest[k - i] = right[k];
  four_dot_products(left, rest, stride, some);
  std::copy(some, some + (right.size() - i), sums + i);
}

void add_columns(float* target, std::span<const float* const> columns, std::span<const float> factors,
                 std::size_t stride) {
  for (std::size_t i = 0; i < columns.size(); ++i) add_scaled(target, columns[i], factors[i], stride);
}

}  // namespace weir::explain
