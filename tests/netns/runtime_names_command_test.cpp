// A container that docker knows by a name and an image, in what `weir flows footprints` says.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "support/cgroup.h"
#include "support/fake_runtime.h"
#include "support/process.h"
#include "support/traffic.h"

namespace weir {
namespace {

TEST(RuntimeNamesCommandTest, FootprintsHaveTheNameAndTheImage) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  if (!test::unified_cgroups()) GTEST_SKIP() << "cgroup v2 is not mounted here, or not for writing";
  const test::FakeRuntime runtime([](const std::string&) {
    return std::string("HTTP/1.0 200 OK\r\n\r\n") + R"({"Name":"/shop-web","Config":{"Image":"shop:1.2"}})";
  });
  const std::string id = fmt::format("{:064x}", ::getpid());
  const test::CgroupFolder scope("/docker-" + id + ".scope");
  const test::Namespace inside;
  const test::Namespace outside;
  test::pair(inside, "c0", outside, "c1", 1);
  inside.ip("addr add 10.68.0.1/24 dev c0\n");
  outside.ip("addr add 10.68.0.2/24 dev c1\n");
  const test::Tenant tenant([&]() -> std::uint64_t {
    scope.enter();
    return ::setns(inside.netns().fd(), CLONE_NEWNET) == 0 ? 1 : 0;
  });
  ASSERT_EQ(tenant.value(), 1U);
  const std::jthread traffic([&](const std::stop_token& stop) {
    static_cast<void>(test::eventually(
        [&] {
          test::udp_send(inside, test::address("10.68.0.2", test::kPort), 1, 100);
          return stop.stop_requested();
        },
        std::chrono::minutes(1)));
  });
  ::setenv("DOCKER_HOST", ("unix://" + runtime.path()).c_str(), 1);
  const test::Outcome shown =
      test::run_weir({"flows", "footprints", "--for", "1500ms", "--interval", "300ms", "--json"});
  ::unsetenv("DOCKER_HOST");
  ASSERT_EQ(shown.code, 0) << shown.err;
  std::set<std::string> seen;
  std::istringstream lines(shown.out);
  for (std::string line; std::getline(lines, line);) {
    const auto workload = nlohmann::json::parse(line)["workload"];
    if (workload["id"] == id) seen.insert(workload["name"].get<std::string>() + " of " + workload["image"].dump());
    if (workload["kind"] == "image") seen.insert("image " + workload["name"].get<std::string>());
  }
  EXPECT_EQ(seen, (std::set<std::string>{"shop-web of \"shop:1.2\"", "image shop:1.2"})) << shown.out;
  EXPECT_EQ(runtime.requests(), 1);
}

}  // namespace
}  // namespace weir
