// Two tenants, each with its own network, served by one process under the same address and port.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "weir/netns.h"

namespace netns = weir::netns;

namespace {

weir::Result<std::string> ask(const netns::Netns& tenant, std::uint16_t port) {
  auto client = netns::open_socket(tenant, AF_INET, SOCK_STREAM, 0);
  if (!client) return std::unexpected(client.error());
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // No switch: the socket knows where it lives.
  if (::connect(client->get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    return weir::fail_errno(errno, "connect");
  }
  std::string answer(64, '\0');
  const ssize_t got = ::recv(client->get(), answer.data(), answer.size(), 0);
  answer.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return answer;
}

weir::Result<void> serve_two_tenants() {
  for (const std::string word : {"red", "blue"}) {
    auto tenant = netns::Netns::create();
    if (!tenant) return std::unexpected(tenant.error());
    auto listener = netns::listen(*tenant, {"127.0.0.1", 8080}, {.nonblocking = false});
    if (!listener) return std::unexpected(listener.error());
    const weir::Fd kept = std::move(*listener);

    // What a restarted process needs to find the tenant again.
    auto id = tenant->durable();
    if (!id) return std::unexpected(id.error());
    auto again = netns::Netns::reopen(*id);
    if (!again) return std::unexpected(again.error());

    auto served = netns::start_worker([&] {
      const weir::Fd connection(::accept4(kept.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (::send(connection.get(), word.data(), word.size(), MSG_NOSIGNAL) < 0) std::perror("send");
    });
    if (!served) return std::unexpected(served.error());
    auto answer = ask(*again, 8080);
    served->join();
    if (!answer) return std::unexpected(answer.error());
    std::printf("%s says \"%s\"\n", id->text().c_str(), answer->c_str());
    if (*answer != word) return weir::fail(weir::Errc::failed, "the wrong tenant answered");

    // For what no socket can do: a body that runs there. It does not run when the thread cannot go there.
    auto name = netns::run_in(*tenant, [&]() -> weir::Result<std::uint64_t> { return netns::current_id(); });
    if (!name || *name != tenant->id()) return weir::fail(weir::Errc::failed, "run_in went astray");
  }
  return {};
}

}  // namespace

int main() {
  if (::geteuid() != 0) {
    std::fprintf(stderr, "run as root\n");
    return 77;
  }
  const auto done = serve_two_tenants();
  if (!done) std::fprintf(stderr, "tenants: %s\n", done.error().message.c_str());
  return done ? 0 : 1;
}
