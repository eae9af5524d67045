// Standardising, and the two loops in which learning conditionals spends its time.
#include "reason/explain/standard_columns.h"

#include <algorithm>
#include <cmath>
#include <cstring>

// The baseline of x86-64 has four lanes; most machines have eight. Sanitizers cannot run the resolvers that choose.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define WEIR_WIDEST [[gnu::target_clones("arch=x86-64-v3", "default")]]
#else
#define WEIR_WIDEST
#endif

namespace weir::explain {

namespace {

constexpr std::size_t lanes = 16;
using Lanes [[gnu::vector_size(lanes * sizeof(float)), gnu::aligned(4), gnu::may_alias]] = float;

// By reference: how vectors are passed depends on the machine.
inline void load(Lanes& to, const float* from) {
  std::memcpy(&to, from, sizeof to);
}

inline float sum_of(const Lanes& values) {
  float sum = 0;
  for (std::size_t i = 0; i < lanes; ++i) sum += values[i];
  return sum;
}

/// The values that were measured, as sums of x - shift and its square.
struct Sums {
  double first = 0;
  double second = 0;
  double values = 0;
};

WEIR_WIDEST Sums sums_about(const float* values, std::size_t stride, float shift) {
  Lanes first{};
  Lanes second{};
  Lanes count{};
  const Lanes zero{};
  const Lanes one = zero + 1.0F;
  for (std::size_t i = 0; i < stride; i += lanes) {
    Lanes x;
    load(x, values + i);
    const auto measured = x - x == zero;  // neither NaN nor infinite
    const Lanes d = measured ? x - shift : zero;
    first += d;
    second += d * d;
    count += measured ? one : zero;
  }
  return {sum_of(first), sum_of(second), sum_of(count)};
}

WEIR_WIDEST void scale_in_place(float* values, std::size_t stride, float mean, float factor) {
  const Lanes zero{};
  for (std::size_t i = 0; i < stride; i += lanes) {
    Lanes x;
    load(x, values + i);
    const Lanes scaled = x - x == zero ? (x - mean) * factor : zero;
    std::memcpy(values + i, &scaled, sizeof scaled);
  }
}

/// Four at a time: one load of `left` serves all.
WEIR_WIDEST void four_dot_products(const float* left, const float* const* right, std::size_t stride, float* sums) {
  Lanes a{};
  Lanes b{};
  Lanes c{};
  Lanes d{};
  for (std::size_t i = 0; i < stride; i += lanes) {
    Lanes x;
    Lanes y;
    load(x, left + i);
    load(y, right[0] + i);
    a += x * y;
    load(y, right[1] + i);
    b += x * y;
    load(y, right[2] + i);
    c += x * y;
    load(y, right[3] + i);
    d += x * y;
  }
  sums[0] = sum_of(a);
  sums[1] = sum_of(b);
  sums[2] = sum_of(c);
  sums[3] = sum_of(d);
}

WEIR_WIDEST void subtract_scaled(float* target, const float* column, float factor, std::size_t stride) {
  for (std::size_t i = 0; i < stride; i += lanes) {
    Lanes x;
    Lanes y;
    load(x, target + i);
    load(y, column + i);
    x -= y * factor;
    std::memcpy(target + i, &x, sizeof x);
  }
}

StandardColumns::Moments moments_of(const float* values, std::size_t stride) {
  const Sums rough = sums_about(values, stride, 0);
  if (rough.values == 0) return {};
  const auto shift = static_cast<float>(rough.first / rough.values);
  if (!std::isfinite(shift)) return {};
  // About its rough mean, so that a large level does not drown a small variance.
  const Sums sums = sums_about(values, stride, shift);
  const double offset = sums.first / sums.values;
  const double variance = std::max(0.0, sums.second / sums.values - offset * offset);
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

void subtract_columns(float* target, std::span<const float* const> columns, std::span<const float> factors,
                      std::size_t stride) {
  for (std::size_t i = 0; i < columns.size(); ++i) subtract_scaled(target, columns[i], factors[i], stride);
}

}  // namespace weir::explain
