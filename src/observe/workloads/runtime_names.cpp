#include "observe/workloads/runtime_names.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "sys/fd.h"

namespace weir::observe {

namespace {

using Steady = std::chrono::steady_clock;

constexpr std::size_t kMostBytes = 4U << 20U;  // of an answer: one with many mounts and labels is some 100 KB
constexpr std::size_t kIdDigits = 64;
constexpr std::string_view kEndOfHead = "\r\n\r\n";

/// The id stands in a request: nothing but digits gets there.
bool is_container_id(std::string_view id) {
  return id.size() == kIdDigits && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string socket_path(const char* variable, std::string usual) {
  constexpr std::string_view kUnix = "unix://";
  const char* set = std::getenv(variable);
  const std::string_view host = set == nullptr ? "" : set;
  return host.starts_with(kUnix) ? std::string(host.substr(kUnix.size())) : std::move(usual);
}

Result<sys::Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return fail(Errc::failed, "the path of the runtime's socket is too long");
  std::ranges::copy(path, address.sun_path);
  sys::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return fail_errno(errno, "socket");
  // It never waits: a runtime with a full queue has no time for us.
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, path);
  return socket;
}

bool ready(int fd, short events, Steady::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
  pollfd one{fd, events, 0};
  return left > 0 && ::poll(&one, 1, static_cast<int>(left)) > 0;
}

/// Until the runtime closes, which it does after one answer in HTTP/1.0.
Result<std::string> read_all(int fd, Steady::time_point deadline) {
  std::string text;
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (got == 0) return text;
    if (got > 0) {
      text.append(chunk.data(), static_cast<std::size_t>(got));
      if (text.size() > kMostBytes) return fail(Errc::failed, "the runtime's answer is too long");
    } else if (errno != EAGAIN && errno != EINTR) {
      return fail_errno(errno, "recv");
    }
    // A slow trickle is no reason to stay either.
    if (!ready(fd, POLLIN, deadline)) return fail(Errc::failed, "the runtime does not answer in time");
  }
}

}  // namespace

std::vector<RuntimeSocket> host_runtime_sockets() {
  return {{"docker", socket_path("DOCKER_HOST", "/run/docker.sock")},
          {"podman", socket_path("CONTAINER_HOST", "/run/podman/podman.sock")}};
}

Result<RuntimeName> parse_runtime_answer(std::string_view response) {
  const std::size_t head = response.find(kEndOfHead);
  if (!response.starts_with("HTTP/1.") || head == std::string_view::npos)
    return fail(Errc::failed, "the runtime does not answer in HTTP/1");
  const std::string_view status = response.substr(sizeof "HTTP/1.x", 3);
  if (status == "404") return fail(Errc::not_found, "the runtime does not know the container");
  if (status != "200") return fail(Errc::failed, fmt::format("the runtime answers {}", printable(status)));
  const auto json = nlohmann::json::parse(response.substr(head + kEndOfHead.size()), nullptr, false);
  const auto text = [](const nlohmann::json& object, const char* member) {
    const auto found = object.is_object() ? object.find(member) : object.end();
    return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>() : "";
  };
  RuntimeName result{.name = text(json, "Name"),
                     .image = json.is_object() && json.contains("Config") ? text(json["Config"], "Image") : ""};
  if (result.name.starts_with('/')) result.name.erase(0, 1);
  if (result.name.empty()) return fail(Errc::failed, "the runtime's answer names no container");
  return result;
}

Result<RuntimeName> ask_runtime(const std::string& socket_path, std::string_view container,
                                std::chrono::milliseconds timeout) {
  const auto deadline = Steady::now() + timeout;
  if (!is_container_id(container)) return fail(Errc::usage, "not the id of a container");
  auto socket = connect_to(socket_path);
  if (!socket) return pass(std::move(socket));
  const std::string request =
      fmt::format("GET /containers/{}/json HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n", container);
  // So short a request fits into any socket's buffer at once.
  if (::send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) != std::ssize(request))
    return fail_errno(errno, "send");
  const auto response = read_all(socket->get(), deadline);
  if (!response) return std::unexpected(response.error());
  return parse_runtime_answer(*response);
}

RuntimeNames::RuntimeNames(std::vector<RuntimeSocket> sockets) : sockets_(std::move(sockets)) {}
RuntimeNames::~RuntimeNames() = default;

std::optional<RuntimeName> RuntimeNames::of(const model::WorkloadRef& workload) {
  if (workload.kind != "container" || !is_container_id(workload.id)) return std::nullopt;
  const auto socket = std::ranges::find(sockets_, workload.runtime, &RuntimeSocket::runtime);
  if (socket == sockets_.end()) return std::nullopt;
  const auto now = Steady::now();
  const std::lock_guard guard(lock_);
  if (known_.size() >= kMostKnown && !known_.contains(workload.id)) known_.clear();
  Known& known = known_[workload.id];
  if (!known.asked && !known.name && now >= known.ask_again) {
    known.asked = true;
    questions_.push_back({workload.id, socket->path});
    if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { answer(stop); });
    asked_.notify_one();
  }
  return known.name;
}

void RuntimeNames::answer(const std::stop_token& stop) {
  std::unique_lock guard(lock_);
  while (asked_.wait(guard, stop, [this] { return !questions_.empty(); })) {
    if (stop.stop_requested()) return;
    const Question question = std::move(questions_.front());
    questions_.pop_front();
    guard.unlock();
    auto said = ask_runtime(question.path, question.id, kTimeout);
    guard.lock();
    Known& known = known_[question.id];
    known.asked = false;
    known.ask_again = Steady::now() + kAskAgainAfter;
    if (said) known.name = *std::move(said);
  }
}

}  // namespace weir::observe
