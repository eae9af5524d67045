// What only a container runtime knows: the name and image of a container, asked for at its API socket when there is
// one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/namespaces.h"

namespace weir::observe {

struct RuntimeName {
  std::string name;
  std::string image;  ///< as the container was made of it: "nginx:1.25"
  bool operator==(const RuntimeName&) const = default;
};

/// A socket that speaks the API of docker, as podman's does too (GET /containers/{id}/json, Docker Engine API 1.41).
struct RuntimeSocket {
  std::string runtime;  ///< as in WorkloadRef
  std::string path;
};

/// /run/docker.sock and /run/podman/podman.sock, or what DOCKER_HOST and CONTAINER_HOST name ("unix:///…").
std::vector<RuntimeSocket> host_runtime_sockets();

/// Asks once and waits for the answer, at most that long in all. Errc::not_found when the runtime does not know the
/// container; Errc::failed for everything else.
Result<RuntimeName> ask_runtime(const std::string& socket_path, std::string_view container,
                                std::chrono::milliseconds timeout);

/// The member "Name", without its leading slash, and "Config.Image" of that answer.
Result<RuntimeName> parse_runtime_answer(std::string_view response);

/// Nobody ever waits for a runtime: what is not known is asked for by a thread, which is there from the first question
/// on, and known when somebody asks later. For one thread that asks.
class RuntimeNames {
 public:
  static constexpr std::chrono::milliseconds kTimeout{200};
  static constexpr std::chrono::seconds kAskAgainAfter{10};
  static constexpr std::size_t kMostKnown = 4096;

  explicit RuntimeNames(std::vector<RuntimeSocket> sockets = host_runtime_sockets());
  RuntimeNames(const RuntimeNames&) = delete;
  RuntimeNames& operator=(const RuntimeNames&) = delete;
  /// Waits for the question that is being asked: kTimeout at most.
  ~RuntimeNames();

  /// What is known by now of a container whose runtime has a socket; nothing for everybody else.
  std::optional<RuntimeName> of(const model::WorkloadRef& workload);

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Known {
    std::optional<RuntimeName> name{};
    Time ask_again{};
    bool asked = false;  ///< and not answered yet
  };
  struct Question {
    std::string id;
    std::string path;
  };
  void answer(const std::stop_token& stop);

  std::vector<RuntimeSocket> sockets_;
  std::mutex lock_;
  std::condition_variable_any asked_;
  std::unordered_map<std::string, Known> known_;  ///< by id
  std::deque<Question> questions_;
  std::jthread thread_;  ///< last: it uses all of the above
};

}  // namespace weir::observe
