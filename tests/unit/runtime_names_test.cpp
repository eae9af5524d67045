// Names and images of containers, from a runtime that is there, slow, wrong or absent.
#include "observe/workloads/runtime_names.h"

#include <gtest/gtest.h>

#include "support/fake_runtime.h"
#include "support/process.h"

namespace weir::observe {
namespace {

using test::eventually;
using test::FakeRuntime;

const std::string kId(64, 'a');

std::string ok(const std::string& body) {
  return "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + body;
}

model::WorkloadRef container(const std::string& id, const std::string& runtime = "docker") {
  model::WorkloadRef made;
  made.kind = "container";
  made.id = id;
  made.name = "docker-" + id.substr(0, 12);
  made.runtime = runtime;
  return made;
}

TEST(RuntimeNamesTest, AreThereSoonAfterTheyWereAskedFor) {
  std::string request;
  const FakeRuntime runtime([&](const std::string& asked) {
    request = asked;
    return ok(R"({"Id":"aa","Name":"/web","Config":{"Image":"nginx:1.25","Labels":{}},"Image":"sha256:12"})");
  });
  RuntimeNames names(std::vector<RuntimeSocket>{{"docker", runtime.path()}});
  EXPECT_TRUE(
      eventually([&] { return names.of(container(kId)) == RuntimeName{.name = "web", .image = "nginx:1.25"}; }));
  EXPECT_TRUE(request.starts_with("GET /containers/" + kId + "/json HTTP/1.0\r\n")) << request;
  EXPECT_EQ(runtime.requests(), 1);
}

TEST(RuntimeNamesTest, NobodyWaitsForARuntimeThatHangs) {
  const FakeRuntime runtime([](const std::string&) { return std::string(); });
  const auto begin = std::chrono::steady_clock::now();
  {
    RuntimeNames names(std::vector<RuntimeSocket>{{"docker", runtime.path()}});
    for (int i = 0; i < 1000; ++i) EXPECT_FALSE(names.of(container(kId)));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, RuntimeNames::kTimeout);
    EXPECT_TRUE(eventually([&] { return runtime.requests() == 1; }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10 * RuntimeNames::kTimeout);
  EXPECT_EQ(ask_runtime(runtime.path(), kId, std::chrono::milliseconds(20)).error().code, Errc::failed);
}

TEST(RuntimeNamesTest, AreAskedForContainersOfThatRuntimeAlone) {
  const FakeRuntime runtime([](const std::string&) { return ok(R"({"Name":"x"})"); });
  RuntimeNames names(std::vector<RuntimeSocket>{{"docker", runtime.path()}});
  EXPECT_FALSE(names.of(container(kId, "podman")));
  EXPECT_FALSE(names.of(container("../../images/" + std::string(51, 'a'))));
  EXPECT_FALSE(names.of(container("aa\r\nHost: x")));
  model::WorkloadRef pod = container(kId);
  pod.kind = "pod";
  EXPECT_FALSE(names.of(pod));
  EXPECT_TRUE(eventually([&] { return names.of(container(kId)).has_value(); }));
  EXPECT_EQ(runtime.requests(), 1);
}

TEST(RuntimeNamesTest, AbsentRuntimesAreNoError) {
  RuntimeNames names(std::vector<RuntimeSocket>{{"docker", "/nonexistent/docker.sock"}});
  EXPECT_FALSE(names.of(container(kId)));
  EXPECT_EQ(ask_runtime("/nonexistent/docker.sock", kId, RuntimeNames::kTimeout).error().code, Errc::not_found);
  EXPECT_FALSE(ask_runtime(std::string(200, 'x'), kId, RuntimeNames::kTimeout));
}

TEST(RuntimeNamesTest, DamagedAnswersNameNobody) {
  EXPECT_EQ(parse_runtime_answer("HTTP/1.0 404 Not Found\r\n\r\n{}").error().code, Errc::not_found);
  for (const char* damaged :
       {"", "HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n{\"Name\":\"/we",
        "HTTP/1.0 500 No\r\n\r\n{}", "HTTP/1.0 200 OK\r\n\r\n[]", "HTTP/1.0 200 OK\r\n\r\n{\"Name\":7}",
        "HTTP/1.0 200 OK\r\n\r\n{\"Name\":\"/\"}", "SSH-2.0-x\r\n\r\n"}) {
    EXPECT_FALSE(parse_runtime_answer(damaged)) << damaged;
  }
  EXPECT_EQ(parse_runtime_answer(ok(R"({"Name":"/a","Config":null})"))->image, "");
}

}  // namespace
}  // namespace weir::observe
