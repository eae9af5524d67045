// What `weir queues fix` brings, by the kernel's own counters: nearly all queues in use, and where each queue has its
// own rate limit, nearly the sum of them. Afterwards tc and bpftool show the same bytes as before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/lab.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;
using test::Outcome;
using test::run_weir;
using SteadyClock = std::chrono::steady_clock;

struct Case {
  std::string scenario;
  lab::Options options;
};

lab::Options shaped(const char* rate, lab::L4 l4, std::uint64_t pps) {
  lab::Options options;
  options.flows = 256;
  options.mq_tbf = rate;
  options.l4 = l4;
  options.pps = pps;
  return options;
}

class QueuesFixEffect : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    WEIR_NEED_ROOT();
    lab_ = std::make_unique<test::TrafficLab>(GetParam().scenario, GetParam().options);
    ASSERT_TRUE(lab_->ok()) << lab_->why();
    journal_ = std::filesystem::temp_directory_path() / (test::unique_prefix() + "journal");
  }
  void TearDown() override { std::filesystem::remove_all(journal_); }

  /// Everything that a fix could leave behind, as tc(8) and bpftool(8) show it.
  [[nodiscard]] std::string picture() const {
    const std::string ns = lab_->netns("host");
    return test::run({"tc", "-n", ns, "qdisc", "show"}).out +
           test::run({"tc", "-n", ns, "filter", "show", "dev", "nic0", "ingress"}).out +
           test::run({"tc", "-n", ns, "filter", "show", "dev", "nic0", "egress"}).out +
           test::run({"ip", "netns", "exec", ns, "bpftool", "net"}).out;
  }
  [[nodiscard]] double sent_bytes() const {
    const Outcome shown = test::run({"ip", "-n", lab_->netns("host"), "-s", "-j", "link", "show", "dev", "nic0"});
    return json::parse(shown.out)[0]["stats64"]["tx"]["bytes"].get<double>();
  }
  /// Bits a second that leave by the device, over a second and a half at least. The clock is read in the middle of
  /// every reading of the counter, for a busy machine.
  [[nodiscard]] double rate_bps() const {
    const auto read = [&] {
      const auto before = SteadyClock::now();
      const double bytes = sent_bytes();
      return std::pair(before + (SteadyClock::now() - before) / 2, bytes);
    };
    const auto first = read();
    auto last = first;
    EXPECT_TRUE(test::eventually([&] {
      last = read();
      return last.first - first.first > std::chrono::milliseconds(1500);
    }));
    return 8 * (last.second - first.second) / std::chrono::duration<double>(last.first - first.first).count();
  }
  [[nodiscard]] double share_of_queues_used() const {
    const Outcome shown = run_weir({"queues", "show", lab_->uplink(), "--for", "1s", "--json"});
    EXPECT_EQ(shown.code, 0) << shown.err;
    const json device = json::parse(shown.out).at("devices").at(0);
    return device.at("tx_effective_queues").get<double>() / device.at("tx_real_queues").get<double>();
  }
  [[nodiscard]] Outcome change(const char* verb, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"queues", verb, lab_->uplink(), "--apply", "--journal", journal_};
    words.insert(words.end(), more.begin(), more.end());
    return run_weir(words);
  }

  std::unique_ptr<test::TrafficLab> lab_;
  std::filesystem::path journal_;
};

TEST_P(QueuesFixEffect, EveryQueueCarriesItsShare) {
  const std::string before = picture();
  double ratio = 0;
  // A second round where the machine was busy with something else: the collapsed rate is the limit of one queue and
  // steady, the mended one needs the traffic to be offered in time.
  for (int round = 0; round < 2 && ratio < 3.8; ++round) {
    const double collapsed = rate_bps();
    const Outcome fixed = change("fix", {"--for", "3s"});
    ASSERT_EQ(fixed.code, 0) << fixed.out << fixed.err;
    const double queues = share_of_queues_used();
    EXPECT_GE(queues, 0.9);
    ratio = rate_bps() / collapsed;
    std::printf("%s: %.2f of the queues used, throughput %.2f x (round %d)\n", GetParam().scenario.c_str(), queues,
                ratio, round + 1);
    const Outcome undone = change("undo");
    ASSERT_EQ(undone.code, 0) << undone.err;
    EXPECT_EQ(picture(), before);
  }
  EXPECT_GE(ratio, 3.8);
}

INSTANTIATE_TEST_SUITE_P(Lab, QueuesFixEffect,
                         ::testing::Values(Case{"tx-collapse-tap", shaped("10mbit", lab::L4::udp, 30000)},
                                           Case{"tx-collapse-injected", shaped("30mbit", lab::L4::tcp, 0)},
                                           Case{"tx-collapse-pod-xps", shaped("30mbit", lab::L4::tcp, 0)}),
                         [](const auto& param) {
                           std::string name = param.param.scenario;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace weir
