// Hooks of weir trace that speak of what has no packet, or of packets that wait: held against what was really done.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <net/if.h>

#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "netns/netns.h"
#include "support/namespaces.h"
#include "support/process.h"

namespace weir {
namespace {

using nlohmann::json;
using test::Outcome;

struct Told {
  std::map<std::string, std::vector<json>> journeys;
  std::vector<json> alone;
  json summary;
};

Told read_events(const std::string& text) {
  Told told;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    json document = json::parse(line);
    if (document["schema"] == "weir.trace_summary/1")
      told.summary = std::move(document);
    else if (document["journey"].is_null())
      told.alone.push_back(std::move(document));
    else
      told.journeys[document["journey"]].push_back(std::move(document));
  }
  return told;
}

/// The account of a hook, balanced.
json account(const Told& told, const std::string& hook) {
  json account = told.summary.is_null() ? json::object() : told.summary["hooks"].value(hook, json::object());
  if (account.empty()) {
    ADD_FAILURE() << hook << ": not attached";
    return account;
  }
  EXPECT_EQ(account["seen"].get<std::uint64_t>(),
            account["emitted"].get<std::uint64_t>() + account["filtered"].get<std::uint64_t>() +
                account["sampled_out"].get<std::uint64_t>() + account["lost"].get<std::uint64_t>())
      << account.dump();
  return account;
}

/// Two namespaces with a device each, joined.
class TraceHooks : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    near_.emplace();
    far_.emplace();
    near_->ip("link add near0 type veth peer name far0 netns " + far_->path() +
              "\naddr add 10.99.7.1/24 dev near0\nlink set near0 up\nlink set lo up\n");
    far_->ip("link set far0 address 02:00:00:00:07:02\naddr add 10.99.7.2/24 dev far0\nlink set far0 up\n");
    near_->ip("neigh add 10.99.7.2 lladdr 02:00:00:00:07:02 nud permanent dev near0\n");
    // Names of devices are known where a process lives.
    for (const test::Namespace* ns : {&*near_, &*far_}) {
      inhabitants_.push_back(
          std::make_unique<test::Process>(std::vector<std::string>{"nsenter", "--net=" + ns->path(), "sleep", "600"}));
    }
  }

  template <class Body>
  Told traced(std::vector<std::string> arguments, Body&& body) {
    arguments.insert(arguments.begin(), {WEIR_BINARY, "trace", "--json"});
    test::Process process(arguments);
    EXPECT_TRUE(
        test::eventually([&] { return process.err().contains("tracing at") || process.err().contains("weir:"); },
                         std::chrono::seconds(60)));
    body();
    process.signal(SIGINT);
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_events(outcome.out);
  }

  static Outcome in(const test::Namespace& ns, std::vector<std::string> command) {
    command.insert(command.begin(), {"nsenter", "--net=" + ns.path()});
    return test::run(std::move(command));
  }

  static std::string name(const test::Namespace& ns) { return ns.path(); }

  std::optional<test::Namespace> near_;
  std::optional<test::Namespace> far_;
  std::vector<std::unique_ptr<test::Process>> inhabitants_;
};

TEST_F(TraceHooks, ShowAPacketThatWaitsForANeighbour) {
  const Told told = traced({"--netns", name(*near_), "icmp and dst host 10.99.7.99"}, [&] {
    EXPECT_EQ(in(*near_, {"ping", "-q", "-c", "1", "-w", "5", "10.99.7.99"}).code, 1);  // until it is told
  });
  account(told, "neigh:neigh_event_send_done");
  ASSERT_GE(told.journeys.size(), 1U);
  bool failed = false;
  for (const auto& [id, events] : told.journeys) {
    if (events.front()["hook"] != "neigh:neigh_event_send_done") continue;
    EXPECT_EQ(events.front()["first"], true);
    EXPECT_EQ(events.front()["dev"], "near0");
    EXPECT_GE(events.front()["result"].get<int>(), 1) << "packets in the queue";
    if (events.back()["hook"] != "skb:kfree_skb") continue;
    failed = true;
    EXPECT_EQ(events.back()["drop"]["reason"], "NEIGH_FAILED");
  }
  EXPECT_TRUE(failed);
}

TEST_F(TraceHooks, TellOfAResetThatArrives) {
  const std::string connect =
      "import socket\ntry: socket.create_connection(('10.99.7.2', 4799), 2)\nexcept ConnectionRefusedError: pass\n";
  const Told told = traced({"--netns", name(*far_), "tcp"}, [&] {
    EXPECT_EQ(in(*near_, {"python3", "-c", connect}).code, 0);
  });
  account(told, "tcp:tcp_receive_reset");
  bool found = false;
  for (const auto& [id, events] : told.journeys) {
    for (const json& event : events) {
      if (event["hook"] != "tcp:tcp_receive_reset") continue;
      found = true;
      EXPECT_EQ(events.front()["packet"]["tcp"]["sport"], 4799) << "it belongs to the reset";
    }
  }
  EXPECT_TRUE(found);
}

/// An XDP program at a device for as long as this lives.
class XdpProgram {
 public:
  XdpProgram(const test::Namespace& ns, const char* device, std::span<const bpf_insn> code)
      : program_(::bpf_prog_load(BPF_PROG_TYPE_XDP, "weir_test_xdp", "GPL", code.data(), code.size(), nullptr)) {
    if (!program_.valid()) throw std::runtime_error("the XDP program does not load");
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    ::bpf_obj_get_info_by_fd(program_.get(), &info, &size);
    id_ = info.id;
    auto attached = netns::run_in(ns.netns(), [&]() -> Result<void> {
      link_ = sys::Fd(::bpf_link_create(program_.get(), static_cast<int>(if_nametoindex(device)), BPF_XDP, nullptr));
      if (link_.valid()) return {};
      return fail(Errc::failed, "the XDP program cannot be attached");
    });
    if (!attached) throw std::runtime_error(attached.error().message);
  }
  [[nodiscard]] std::uint32_t id() const { return id_; }

 private:
  sys::Fd program_;
  sys::Fd link_;
  std::uint32_t id_ = 0;
};

constexpr bpf_insn set(std::uint8_t reg, std::int32_t value) {
  return {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = reg, .src_reg = 0, .off = 0, .imm = value};
}
constexpr bpf_insn kExit{.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
constexpr bpf_insn kRedirect{
    .code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = BPF_FUNC_redirect};
constexpr std::int32_t kNoAction = 77;
constexpr std::int32_t kNoDevice = 99999;

TEST_F(TraceHooks, TellOfAnXdpProgramThatReturnsNoAction) {
  const std::array code{set(BPF_REG_0, kNoAction), kExit};
  const XdpProgram program(*far_, "far0", code);
  const auto send = [&] { EXPECT_EQ(in(*near_, {"ping", "-q", "-c", "1", "-W", "0.2", "10.99.7.2"}).code, 1); };
  const Told told = traced({"--netns", name(*far_), "--drops"}, send);
  const auto seen = account(told, "xdp:xdp_exception");
  ASSERT_FALSE(told.alone.empty());
  EXPECT_EQ(seen["emitted"], told.alone.size());
  for (const json& event : told.alone) {
    EXPECT_EQ(event["hook"], "xdp:xdp_exception");
    EXPECT_EQ(event["dev"], "far0");
    EXPECT_EQ(event["xdp"]["action"], std::to_string(kNoAction));
    EXPECT_EQ(event["xdp"]["program"], program.id());
    EXPECT_TRUE(event["skb"].is_null());
  }
  // A filter cannot be asked about it: then it speaks only when it was named.
  const Told filtered = traced({"--netns", name(*far_), "--drops", "icmp"}, send);
  EXPECT_TRUE(filtered.alone.empty());
  EXPECT_GT(account(filtered, "xdp:xdp_exception")["filtered"], 0);
  const Told named = traced({"--netns", name(*far_), "--probe", "xdp_exception", "icmp"}, send);
  EXPECT_FALSE(named.alone.empty());
  // Of another namespace it says nothing.
  const Told elsewhere = traced({"--netns", name(*near_), "--drops"}, send);
  EXPECT_TRUE(elsewhere.alone.empty());
}

TEST_F(TraceHooks, TellOfAnXdpProgramThatRedirectsToNowhere) {
  const std::array code{set(BPF_REG_1, kNoDevice), set(BPF_REG_2, 0), kRedirect, kExit};
  const XdpProgram program(*far_, "far0", code);
  const Told told = traced({"--netns", name(*far_), "--drops"}, [&] {
    EXPECT_EQ(in(*near_, {"ping", "-q", "-c", "1", "-W", "0.2", "10.99.7.2"}).code, 1);
  });
  account(told, "xdp:xdp_redirect_err");
  ASSERT_FALSE(told.alone.empty());
  const json& event = told.alone.front();
  EXPECT_EQ(event["hook"], "xdp:xdp_redirect_err");
  EXPECT_EQ(event["xdp"]["action"], "REDIRECT");
  EXPECT_EQ(event["xdp"]["error"], -EINVAL);
  EXPECT_EQ(event["xdp"]["to"], kNoDevice);
  EXPECT_EQ(event["xdp"]["program"], program.id());
}

}  // namespace
}  // namespace weir
