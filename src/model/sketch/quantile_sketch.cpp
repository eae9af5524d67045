#include "model/sketch/quantile_sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/sketch/bytes.h"

namespace weir::model {

namespace {

constexpr std::uint8_t kQuantileVersion = 1;
constexpr double kGamma = (1 + QuantileSketch::kRelativeError) / (1 - QuantileSketch::kRelativeError);
constexpr double kSmallest = 1e-9;
constexpr double kLargest = 1e18;
constexpr std::int64_t kFarthestIndex = 4096;  // beyond what any value has

std::int32_t bin_of(double value) {
  return static_cast<std::int32_t>(std::ceil(std::log(value) / std::log(kGamma)));
}

double middle_of(std::int32_t index) {
  return 2 * std::pow(kGamma, index) / (kGamma + 1);
}

std::unexpected<Error> not_a_quantile_sketch() {
  return fail(Errc::usage, "these are no bytes of a quantile sketch", "");
}

}  // namespace

void QuantileSketch::add(double value, std::uint64_t weight) {
  if (weight == 0) return;
  if (!(value >= kSmallest)) value = 0;
  value = std::min(value, kLargest);
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = std::max(max_, value);
  count_ += weight;
  if (value == 0) {
    zeros_ += weight;
    return;
  }
  const std::int32_t index = bin_of(value);
  const auto place = std::ranges::lower_bound(bins_, index, {}, &Bin::index);
  if (place != bins_.end() && place->index == index) {
    place->count += weight;
    return;
  }
  bins_.insert(place, {index, weight});
  collapse();
}

void QuantileSketch::collapse() {
  if (bins_.size() <= kBins) return;
  const std::size_t excess = bins_.size() - kBins;
  for (std::size_t i = 0; i < excess; ++i) bins_[excess].count += bins_[i].count;
  bins_.erase(bins_.begin(), bins_.begin() + static_cast<std::ptrdiff_t>(excess));
}

void QuantileSketch::merge(const QuantileSketch& other) {
  if (other.count_ == 0) return;
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  count_ += other.count_;
  zeros_ += other.zeros_;
  std::vector<Bin> both;
  both.reserve(bins_.size() + other.bins_.size());
  std::ranges::merge(bins_, other.bins_, std::back_inserter(both), {}, &Bin::index, &Bin::index);
  bins_.clear();
  for (const Bin& bin : both) {
    if (!bins_.empty() && bins_.back().index == bin.index)
      bins_.back().count += bin.count;
    else
      bins_.push_back(bin);
  }
  collapse();
}

double QuantileSketch::quantile(double q) const {
  if (count_ == 0) return 0;
  const auto rank = static_cast<std::uint64_t>(std::clamp(q, 0.0, 1.0) * static_cast<double>(count_ - 1));
  if (rank < zeros_) return 0;
  std::uint64_t before = zeros_;
  for (const Bin& bin : bins_) {
    before += bin.count;
    if (rank < before) return std::clamp(middle_of(bin.index), min_, max_);
  }
  return max_;
}

std::string QuantileSketch::to_bytes() const {
  ByteWriter to;
  to.byte('Q');
  to.byte(kQuantileVersion);
  to.real(min_);
  to.real(max_);
  to.number(zeros_);
  to.number(bins_.size());
  std::int64_t previous = 0;
  for (const Bin& bin : bins_) {
    to.signed_number(bin.index - previous);
    to.number(bin.count);
    previous = bin.index;
  }
  return std::move(to).take();
}

Result<QuantileSketch> QuantileSketch::from_bytes(std::string_view bytes) {
  ByteReader from(bytes);
  if (from.byte() != 'Q' || from.byte() != kQuantileVersion) return not_a_quantile_sketch();
  const auto least = from.real();
  const auto most = from.real();
  const auto zeros = from.number();
  const auto bins = from.number();
  if (!bins || *bins > kBins || !(*least >= 0) || !(*most >= *least) || !(*most <= kLargest)) {
    return not_a_quantile_sketch();
  }
  QuantileSketch sketch;
  sketch.min_ = *least;
  sketch.max_ = *most;
  sketch.zeros_ = sketch.count_ = *zeros;
  std::int64_t index = 0;
  for (std::uint64_t i = 0; i < *bins; ++i) {
    const auto step = from.signed_number();
    const auto count = from.number();
    if (!count || *count == 0 || *count > std::numeric_limits<std::uint64_t>::max() - sketch.count_) {
      return not_a_quantile_sketch();
    }
    if (*step < -kFarthestIndex || *step > kFarthestIndex || (i > 0 && *step <= 0)) return not_a_quantile_sketch();
    index += *step;
    if (index < -kFarthestIndex || index > kFarthestIndex) return not_a_quantile_sketch();
    sketch.bins_.push_back({static_cast<std::int32_t>(index), *count});
    sketch.count_ += *count;
  }
  if (from.left() != 0) return not_a_quantile_sketch();
  return sketch;
}

}  // namespace weir::model
