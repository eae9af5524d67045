// The doctor against the lab: every scenario, and the same faults under other names, queue counts, families, protocols,
// paths, with several NICs and pods and with the host's own traffic beside them. What a correct verdict is stands in
// the lab's own file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sys/process.h"

namespace weir {
namespace {

using Json = nlohmann::json;

struct Case {
  std::string name;
  std::string scenario;
  std::vector<std::string> options;
};

std::ostream& operator<<(std::ostream& out, const Case& test) {
  return out << test.name;
}

struct Outcome {
  int exit_code = -1;
  std::string err;
  Json lab;
  Json doctor;
};

/// `weir lab run SCENARIO … -- weir doctor …` in namespaces of this test's own, watched alone so that tests can run
/// side by side.
Outcome diagnose_lab(const Case& test, const std::string& duration) {
  static int runs = 0;
  const std::string prefix = "wt" + std::to_string(getpid() % 10000) + "x" + std::to_string(runs++) + "-";
  const auto directory = std::filesystem::temp_directory_path() / ("weir-" + prefix);
  std::filesystem::create_directories(directory);
  const std::string lab = directory / "lab.json";
  const std::string verdict = directory / "doctor.json";
  std::vector<std::string> argv{WEIR_BINARY, "lab", "run", test.scenario, "--prefix", prefix, "--for", "60s"};
  argv.insert(argv.end(), test.options.begin(), test.options.end());
  const std::string script = "cp \"$WEIR_LAB\" " + lab + " && exec " WEIR_BINARY " doctor --json --for " + duration +
                             " --netns " + prefix + "host > " + verdict;
  argv.insert(argv.end(), {"--", "sh", "-c", script});
  const auto ran = sys::run_command(argv, std::chrono::seconds(90));
  Outcome outcome;
  if (ran) {
    outcome.exit_code = ran->status.code;
    outcome.err = ran->err;
  } else {
    outcome.err = ran.error().message;
  }
  if (outcome.exit_code == 0) {
    outcome.lab = Json::parse(std::ifstream(lab));
    outcome.doctor = Json::parse(std::ifstream(verdict));
  }
  std::filesystem::remove_all(directory);
  return outcome;
}

std::string name_of(const Json& entity) {
  return entity["netns"].get<std::string>() + "/" + entity["name"].get<std::string>();
}

void expect_verdict(const Outcome& outcome) {
  const Json& expect = outcome.lab["expect"];
  const Json& findings = outcome.doctor["findings"];
  SCOPED_TRACE("truth: " + outcome.lab["truth"].get<std::string>() + "\nfindings: " + findings.dump(1));
  EXPECT_EQ(outcome.doctor["accounting"]["packets_lost"], 0);
  if (expect["finding"].is_null()) {
    EXPECT_TRUE(findings.empty());
    return;
  }
  ASSERT_EQ(findings.size(), 1U);
  const Json& finding = findings[0];
  EXPECT_THAT(expect["findings"].get<std::vector<std::string>>(),
              ::testing::Contains(finding["id"].get<std::string>()));
  EXPECT_THAT(expect["causes"].get<std::vector<std::string>>(),
              ::testing::Contains(finding["cause"].get<std::string>()));
  EXPECT_EQ(name_of(finding["subject"]), expect["subject"].get<std::string>());
  // A skew mixes recorded and hashed packets on the same queues: less of it is explained by one rule.
  EXPECT_GE(finding["confidence"].get<double>(), outcome.lab["scenario"] == "tx-skew-multiqueue-veth" ? 0.8 : 0.9);
  if (!expect["culprit"].is_null()) {
    ASSERT_FALSE(finding["culprits"].empty());
    EXPECT_EQ(name_of(finding["culprits"][0]), expect["culprit"].get<std::string>());
    EXPECT_GE(finding["culprits"][0]["share"].get<double>(), 0.95);
  }
  if (finding["cause"] == "recorded-rx-queue") {
    EXPECT_THAT(finding["changed_at"].get<std::string>(), ::testing::StartsWith("between "));
    EXPECT_FALSE(finding["fix"]["command"].get<std::string>().empty());
  } else {
    EXPECT_TRUE(finding["fix"]["command"].get<std::string>().empty()) << "no reset is offered for another cause";
  }
}

class DoctorMatrix : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
  }
};

TEST_P(DoctorMatrix, NamesTheFault) {
  const Outcome outcome = diagnose_lab(GetParam(), "3s");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_verdict(outcome);
}

std::vector<Case> cases() {
  return {
      {"tap", "tx-collapse-tap", {}},
      {"tap_2_queues", "tx-collapse-tap", {"--queues", "2"}},
      {"tap_64_queues", "tx-collapse-tap", {"--queues", "64", "--flows", "1024"}},
      {"tap_ipv6", "tx-collapse-tap", {"--family", "6"}},
      {"tap_tcp", "tx-collapse-tap", {"--l4", "tcp"}},
      {"tap_other_name", "tx-collapse-tap", {"--nic-name", "enp1s0f0np0"}},
      {"tap_host_traffic", "tx-collapse-tap", {"--host-traffic"}},
      {"injected", "tx-collapse-injected", {}},
      {"injected_8_queues_ipv6", "tx-collapse-injected", {"--queues", "8", "--family", "6"}},
      {"injected_tcp", "tx-collapse-injected", {"--l4", "tcp"}},
      {"injected_bridged", "tx-collapse-injected", {"--path", "bridged"}},
      {"injected_2_nics", "tx-collapse-injected", {"--nics", "2"}},
      {"injected_shaped", "tx-collapse-injected", {"--mq-tbf", "50mbit", "--l4", "tcp"}},
      {"pod_xps", "tx-collapse-pod-xps", {}},
      {"pod_xps_bridged", "tx-collapse-pod-xps", {"--path", "bridged"}},
      {"pod_xps_ipv6_16_queues", "tx-collapse-pod-xps", {"--family", "6", "--queues", "16"}},
      {"pod_xps_tcp", "tx-collapse-pod-xps", {"--l4", "tcp"}},
      {"multiqueue_veth", "tx-skew-multiqueue-veth", {}},
      {"multiqueue_veth_2_on_4", "tx-skew-multiqueue-veth", {"--pod-queues", "2"}},
      {"multiqueue_veth_bridged_tcp", "tx-skew-multiqueue-veth", {"--path", "bridged", "--l4", "tcp"}},
      {"nic_xps", "nic-xps", {}},
      {"nic_xps_ipv6", "nic-xps", {"--family", "6"}},
      {"one_active_cpu", "one-active-cpu", {}},
      {"single_flow", "single-flow", {}},
      {"few_flows", "few-flows", {}},
      {"tap_multiqueue", "tap-multiqueue", {}},
      {"healthy", "healthy", {}},
      {"healthy_64_queues", "healthy", {"--queues", "64", "--flows", "2048"}},
      {"healthy_ipv6_bridged", "healthy", {"--family", "6", "--path", "bridged"}},
      {"healthy_tcp", "healthy", {"--l4", "tcp"}},
      {"healthy_vxlan", "healthy", {"--path", "vxlan"}},
      {"healthy_3_pods_2_nics", "healthy", {"--pods", "3", "--nics", "2", "--host-traffic"}},
      {"veth_gro", "veth-gro", {}},
  };
}

INSTANTIATE_TEST_SUITE_P(Lab, DoctorMatrix, ::testing::ValuesIn(cases()),
                         [](const auto& param) { return param.param.name; });

/// Several pods of which one is the culprit: its share of the recorded packets, not of the traffic, decides.
TEST_F(DoctorMatrix, OneCulpritAmongPods) {
  for (const char* scenario : {"tx-collapse-injected", "tx-collapse-pod-xps"}) {
    const Outcome outcome = diagnose_lab({"pods", scenario, {"--pods", "3"}}, "3s");
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    expect_verdict(outcome);
  }
}

/// A healthy host is silent, every time.
TEST_F(DoctorMatrix, SilentOnHealthyTenTimes) {
  for (const char* scenario : {"healthy", "veth-gro"}) {
    for (int run = 0; run < 10; ++run) {
      const Outcome outcome = diagnose_lab({"healthy", scenario, {}}, "2s");
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      EXPECT_TRUE(outcome.doctor["findings"].empty()) << scenario << " run " << run << outcome.doctor.dump(1);
    }
  }
}

}  // namespace
}  // namespace weir
