// Programs that record or print packets, Weir's own and others', started and stopped as a person would.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sys/process.h"

namespace weir::bench {

/// How a tool is run. Its script may use $D, a folder of its own in memory, for what it writes.
struct Tool {
  std::string name;
  std::string what;
  std::string script;  ///< for sh(1); the tool itself is exec'ed
  std::string ready;   ///< said in $D/said or $D/err when it has begun
  bool has_programs = false;
  bool records = true;  ///< keeps something of each packet, so that some can be lost
  /// A number that it leaves, from what it has written below the folder: of those that record, the events that it says
  /// it lost. Nullopt: it did not say.
  std::function<std::optional<std::uint64_t>(const std::filesystem::path&)> counted;
};

/// A tool at work, ended by SIGINT and with its files removed when this is destroyed.
class RunningTool {
 public:
  static Result<RunningTool> start(const Tool& tool, int netns_fd);
  /// SIGINT, its end, and its number.
  Result<std::optional<std::uint64_t>> finish();
  [[nodiscard]] pid_t pid() const { return process_->pid(); }

  RunningTool(RunningTool&&) noexcept = default;
  RunningTool& operator=(RunningTool&&) noexcept = default;
  ~RunningTool();

 private:
  RunningTool() = default;
  Tool tool_;
  std::filesystem::path folder_;
  std::optional<sys::Process> process_;
};

/// The tools that are compared; `weir` is the program beside this one.
std::vector<Tool> tools(const std::filesystem::path& weir);

}  // namespace weir::bench
