// Footprints of real traffic: a transfer and a dialogue are told apart, and from each other's ends.
#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <map>
#include <thread>

#include "model/footprint_builder.h"
#include "observe/flows/flow_watch.h"
#include "support/process.h"
#include "support/traffic.h"
#include "sys/clock.h"

namespace weir {
namespace {

using model::FlowDirection;
using model::FootprintClass;
using test::Namespace;

constexpr std::uint32_t kTransferBytesPerSecond = 12'500'000;
constexpr std::size_t kMessageBytes = 100;
constexpr int kFewestWindows = 5;
constexpr std::chrono::seconds kWithin{15};

/// Two namespaces, and a TCP connection between them.
class Talk {
 public:
  Talk() {
    test::pair(client_, "c0", server_, "s0", 1);
    client_.ip("addr add 10.8.1.1/24 dev c0\n");
    server_.ip("addr add 10.8.1.2/24 dev s0\n");
    const test::Address at = test::address("10.8.1.2", test::kPort);
    const sys::Fd listener = test::bound(server_, at, SOCK_STREAM);
    near_ = test::socket_in(client_, AF_INET, SOCK_STREAM);
    if (::listen(listener.get(), 1) != 0 || ::connect(near_.get(), test::raw(at), at.size) != 0)
      throw std::runtime_error("cannot connect");
    far_ = sys::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const int on = 1;
    for (const sys::Fd* end : {&near_, &far_}) ::setsockopt(end->get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  /// Ends what the ends are doing.
  void hang_up() {
    ::shutdown(near_.get(), SHUT_RDWR);
    ::shutdown(far_.get(), SHUT_RDWR);
  }
  [[nodiscard]] int near() const { return near_.get(); }
  [[nodiscard]] int far() const { return far_.get(); }
  [[nodiscard]] const Namespace& client() const { return client_; }
  [[nodiscard]] const Namespace& server() const { return server_; }

 private:
  Namespace client_;
  Namespace server_;
  sys::Fd near_;
  sys::Fd far_;
};

void send_all(int socket) {
  const std::vector<char> data(65536);
  while (::send(socket, data.data(), data.size(), MSG_NOSIGNAL) > 0) {
  }
}

void read_all(int socket) {
  std::vector<char> data(65536);
  while (::read(socket, data.data(), data.size()) > 0) {
  }
}

/// `first` speaks first; then each answers what it has received.
void converse(int socket, bool first) {
  std::array<char, kMessageBytes> message{};
  if (first && ::send(socket, message.data(), message.size(), MSG_NOSIGNAL) < 0) return;
  while (::recv(socket, message.data(), message.size(), MSG_WAITALL) == std::ssize(message)) {
    if (::send(socket, message.data(), message.size(), MSG_NOSIGNAL) < 0) return;
  }
}

Result<model::HostConfig> config_of(const std::vector<const Namespace*>& namespaces) {
  model::HostConfig config;
  for (const Namespace* ns : namespaces) {
    for (const auto& [name, link] : ns->links()) {
      model::DeviceConfig device;
      device.ref = {
          .netns = {ns->id(), fmt::format("id:{}", ns->id())}, .ifindex = IfIndex{link.ifindex}, .name = name};
      config.devices.push_back(std::move(device));
    }
  }
  return config;
}

/// Every namespace of the test is a workload of its own.
observe::FlowRequest request_for(const std::vector<const Namespace*>& namespaces) {
  observe::FlowRequest request;
  request.read_config = [namespaces] { return config_of(namespaces); };
  request.workload = [namespaces](std::uint64_t, const model::DeviceRef& device) -> std::optional<model::WorkloadRef> {
    for (const Namespace* ns : namespaces) {
      if (ns->id() != device.netns.id) continue;
      model::WorkloadRef owner;
      owner.kind = "namespace";
      owner.name = owner.id = std::to_string(ns->id());
      return owner;
    }
    return std::nullopt;
  };
  return request;
}

model::FootprintKey key_of(const Namespace& ns, FlowDirection direction) {
  model::FootprintKey key;
  key.kind = "namespace";
  key.name = key.id = std::to_string(ns.id());
  key.direction = direction;
  return key;
}

TEST(FootprintsTest, TellATransferFromADialogueWithinFifteenSeconds) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  Talk transfer;
  Talk dialogue;
  ::setsockopt(transfer.near(), SOL_SOCKET, SO_MAX_PACING_RATE, &kTransferBytesPerSecond,
               sizeof kTransferBytesPerSecond);
  const sys::SystemClock clock;
  auto watch = observe::FlowWatch::start(
      request_for({&transfer.client(), &transfer.server(), &dialogue.client(), &dialogue.server()}), clock);
  ASSERT_TRUE(watch) << watch.error().message;
  std::vector<std::jthread> ends;
  ends.emplace_back(send_all, transfer.near());
  ends.emplace_back(read_all, transfer.far());
  ends.emplace_back(converse, dialogue.near(), true);
  ends.emplace_back(converse, dialogue.far(), false);

  using enum FlowDirection;
  const std::map<model::FootprintKey, FootprintClass> expected{
      {key_of(transfer.client(), tx), FootprintClass::bulk},
      {key_of(transfer.server(), rx), FootprintClass::bulk},
      {key_of(transfer.client(), rx), FootprintClass::bulk},  // acknowledgements of it
      {key_of(dialogue.client(), tx), FootprintClass::latency_sensitive},
      {key_of(dialogue.server(), tx), FootprintClass::latency_sensitive},
      {key_of(dialogue.server(), rx), FootprintClass::latency_sensitive},
  };
  model::FootprintBuilder builder;
  const auto as_expected = [&] {
    return std::ranges::all_of(expected, [&](const auto& one) {
      const model::FootprintVerdict* verdict = builder.verdict(one.first);
      return verdict != nullptr && verdict->footprint_class == one.second;
    });
  };
  const auto deadline = std::chrono::steady_clock::now() + kWithin;
  for (int windows = 0; windows < kFewestWindows || !as_expected(); ++windows) {
    if (std::chrono::steady_clock::now() >= deadline) break;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    while (std::chrono::steady_clock::now() < end) {
      ASSERT_TRUE(watch->poll(std::chrono::milliseconds(100), {}));
    }
    auto window = watch->window();
    ASSERT_TRUE(window) << window.error().message;
    builder.feed(*window);
  }
  transfer.hang_up();
  dialogue.hang_up();
  for (const auto& [key, footprint_class] : expected) {
    const model::FootprintVerdict* verdict = builder.verdict(key);
    ASSERT_NE(verdict, nullptr) << key.id;
    EXPECT_EQ(verdict->footprint_class, footprint_class)
        << key.id << ' ' << to_string(key.direction) << ": " << to_string(verdict->footprint_class) << ", "
        << verdict->reason;
  }
}

TEST(FootprintsTest, TheCommandGivesOneObjectALine) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const test::Outcome outcome =
      test::run({WEIR_BINARY, "flows", "footprints", "--for", "500ms", "--interval", "250ms", "--json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["schema"], "weir.footprint/1");
    EXPECT_FALSE(json["horizons"].empty());
  }
  EXPECT_EQ(test::run({WEIR_BINARY, "flows", "footprints", "--interval", "1ms"}).code, 2);
  EXPECT_EQ(test::run({WEIR_BINARY, "flows", "footprints", "--for", "soon"}).code, 2);
}

}  // namespace
}  // namespace weir
