// Tenants that overlap: one address and port in each, one reactor that serves all of them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "netns/echo.h"
#include "netns/torture/actors.h"

namespace weir::netns::torture {

namespace {

constexpr std::size_t kTenants = 32;
constexpr const char* kAddress = "127.0.0.1";
constexpr std::uint16_t kPort = 7007;

using Tenants = std::vector<TenantPtr>;

class EchoServer final : public Actor {
 public:
  EchoServer(Stage& stage, std::unique_ptr<Reactor> reactor)
      : Actor(stage, "echo server", false), reactor_(std::move(reactor)), service_(*reactor_) {}
  [[nodiscard]] bool follows() const override { return true; }

  Result<void> serve(const Tenant& tenant) {
    auto bound = service_.serve(tenant.ns, {kAddress, kPort}, std::to_string(tenant.id) + "\n");
    if (!bound) return pass(std::move(bound));
    return {};
  }

 protected:
  Result<void> step(Dice& /*dice*/) override {
    auto round = reactor_->run_once(std::chrono::milliseconds(100));
    if (!round) return pass(std::move(round));
    return {};
  }

 private:
  std::unique_ptr<Reactor> reactor_;
  EchoService service_;
};

class EchoClient final : public Actor {
 public:
  EchoClient(Stage& stage, Tenants tenants) : Actor(stage, "echo client", true), tenants_(std::move(tenants)) {}

 protected:
  Result<void> step(Dice& dice) override {
    const auto among = stage_.gate.among_others();
    const TenantPtr& tenant = tenants_[dice.below(tenants_.size())];
    const std::uint64_t epoch = stage_.ledger.scarcity();
    auto socket = connect(*tenant);
    if (!socket) return pass(std::move(socket));
    check_socket(socket->get(), *tenant);
    std::string sent(1 + dice.below(4096), ' ');
    for (char& byte : sent) byte = static_cast<char>('a' + dice.below(26));
    const std::string greeting = std::to_string(tenant->id) + "\n";
    const std::string heard = receive(socket->get(), greeting.size());
    if (::send(socket->get(), sent.data(), sent.size(), MSG_NOSIGNAL) < 0) sent.clear();
    const std::string back = receive(socket->get(), sent.size());
    ++stage_.ledger.echoes_checked;
    if (heard == greeting && !sent.empty() && back == sent) return {};
    // Without descriptors the server takes connections only to drop them.
    if (stage_.ledger.was_scarce_since(epoch)) return {};
    broken("echo", "namespace id " + std::to_string(tenant->id) + " greeted with \"" + heard + "\" and gave back " +
                       std::to_string(back.size()) + " of " + std::to_string(sent.size()) + " bytes");
    return {};
  }

 private:
  static Result<Fd> connect(const Tenant& tenant) {
    auto socket = open_socket(tenant.ns, AF_INET, SOCK_STREAM, 0);
    if (!socket) return socket;
    const linger at_once{1, 0};  // no TIME_WAIT: ports of a tenant are few
    ::setsockopt(socket->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    const timeval patience{20, 0};
    ::setsockopt(socket->get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(kPort);
    ::inet_pton(AF_INET, kAddress, &address.sin_addr);
    if (::connect(socket->get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return fail_errno(errno, "connecting to the echo service");
    }
    return socket;
  }

  /// As many bytes as are wanted, or those that came before the end.
  static std::string receive(int socket, std::size_t wanted) {
    std::string text(wanted, '\0');
    std::size_t got = 0;
    while (got < wanted) {
      const ssize_t more = ::recv(socket, text.data() + got, wanted - got, 0);
      if (more <= 0) break;
      got += static_cast<std::size_t>(more);
    }
    text.resize(got);
    return text;
  }

  Tenants tenants_;
};

}  // namespace

Result<std::vector<std::unique_ptr<Actor>>> make_echo_server_and_client(Stage& stage) {
  auto reactor = Reactor::create();
  if (!reactor) return pass(std::move(reactor));
  auto server = std::make_unique<EchoServer>(stage, std::move(*reactor));
  Tenants tenants;
  for (std::size_t i = 0; i < kTenants; ++i) {
    auto tenant = make_tenant({});
    if (!tenant) return pass(std::move(tenant));
    if (auto served = server->serve(**tenant); !served) return pass(std::move(served));
    tenants.push_back(std::move(*tenant));
  }
  std::vector<std::unique_ptr<Actor>> actors;
  actors.push_back(std::move(server));
  actors.push_back(std::make_unique<EchoClient>(stage, std::move(tenants)));
  return actors;
}

}  // namespace weir::netns::torture
