// Watches flows and what conntrack knows of them, and joins them into connections.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "model/connection.h"
#include "model/conntrack.h"
#include "observe/flows/conntrack/plane.h"
#include "observe/flows/flow_watch.h"

namespace weir::observe {

struct ConnectionRequest {
  FlowRequest flows;
  /// Without it translations are known only as packets show them at transmission.
  bool conntrack = true;
  ConntrackRequest tables{};
  /// Where the device of a flow stands, seen from its workload; everything is inside without it.
  std::function<model::FlowSide(const model::Flow&)> side;
};

/// A window whose flows are joined: `connection` and `conntrack` of each are set.
struct JoinedWindow {
  model::FlowWindow flows;
  std::vector<model::Connection> connections;  ///< heaviest first
  model::ConntrackAccount conntrack;
};

class ConnectionWatch {
 public:
  /// Errors as FlowWatch::start(). `clock` must outlive the watch. The first window begins.
  static Result<ConnectionWatch> start(ConnectionRequest request, const Clock& clock);
  ConnectionWatch(ConnectionWatch&&) noexcept;
  ConnectionWatch& operator=(ConnectionWatch&&) noexcept;
  ~ConnectionWatch();

  /// As FlowWatch::poll(); of an elephant whose connection conntrack knows, the end is told when conntrack sees it.
  Result<void> poll(std::chrono::milliseconds timeout, const FlowWatch::EventVisitor& visit);
  /// Ends the window and begins the next.
  Result<JoinedWindow> window();
  [[nodiscard]] const FlowWatch& flow_watch() const;

 private:
  struct Parts;
  explicit ConnectionWatch(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace weir::observe
