// A lab for a test: up with a prefix of its own, traffic flowing, gone at the end.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "lab/lab.h"

namespace weir::test {

/// A prefix that no other test uses now.
inline std::string unique_prefix() {
  static std::atomic<unsigned> next{0};
  return "wt" + std::to_string(getpid()) + "-" + std::to_string(next++) + "-";
}

/// Skips the test where a lab cannot be built.
#define WEIR_NEED_ROOT() \
  if (geteuid() != 0) GTEST_SKIP() << "needs root"

/// Use it as:
///
///     TrafficLab lab("tx-collapse-tap", {.queues = 8});
///     ASSERT_TRUE(lab.ok()) << lab.why();
///     run_weir({"doctor", "--netns", lab.netns("host"), "--for", "3s", "--json"});
class TrafficLab {
 public:
  explicit TrafficLab(std::string_view scenario, lab::Options options = {}, bool traffic = true) {
    if (options.prefix == lab::Options{}.prefix) options.prefix = unique_prefix();
    auto lab = lab::Lab::up(scenario, options);
    if (!lab) {
      why_ = lab.error().message;
      return;
    }
    lab_ = std::make_unique<lab::Lab>(std::move(*lab));
    if (!traffic) return;
    if (auto ok = lab_->start_traffic(); !ok) {
      why_ = ok.error().message;
      lab_.reset();
    }
  }

  [[nodiscard]] bool ok() const { return lab_ != nullptr; }
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] lab::Lab& lab() const { return *lab_; }
  [[nodiscard]] const lab::Expectation& expect() const { return lab_->blueprint().expect; }
  /// The namespace of a role: "host", "wire", "pod", "pod2", …
  [[nodiscard]] const std::string& netns(const std::string& role) const { return lab_->blueprint().at(role).name; }
  /// "netns/dev" of the first uplink.
  [[nodiscard]] std::string uplink() const { return netns("host") + "/" + lab_->blueprint().options.nic_name; }

 private:
  std::unique_ptr<lab::Lab> lab_;
  std::string why_;
};

}  // namespace weir::test
