// PetShop's layout of a data set: scenarios with a graph, a healthy past and cases with known roots
// (github.com/amazon-science/petshop-root-cause-analysis; CC-BY-4.0).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "weir/explain.h"

namespace weir::explain {

/// One case, or one window of the healthy past.
struct ExplainedCase {
  std::string scenario;  ///< "low_traffic"
  std::string name;      ///< "low_traffic/train/issue_3", "low_traffic/noissue/rows_100_105"
  std::string symptom;   ///< "latency"
  Engine engine = Engine::combined;
  std::vector<std::string> causes;  ///< ranked
  double p_value = 1;
  double seconds = 0;
  std::optional<std::string> truth;  ///< nothing for a healthy window
  std::vector<std::string> notes{};
  std::vector<std::string> metrics{};  ///< ranked, "entity:metric", where an engine ranks them
};

struct DataSetOptions {
  std::string split = "train";
  std::vector<Engine> engines{Engine::combined};
  Options options{};
  bool healthy_windows = true;
  std::size_t healthy_rows = 5;  ///< of a window of the healthy past
};

/// Explains every case of a split and, in the scenarios that have one, windows of the healthy past against the rest of
/// it. A scenario without a past of its own takes low_traffic's, and says so. Errc::usage with the file for what is no
/// such data set.
Result<void> explain_petshop(const std::string& folder, const DataSetOptions& options,
                             const std::function<void(const ExplainedCase&)>& take);

}  // namespace weir::explain
