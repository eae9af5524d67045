#include "numpy_reference.h"

#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "reason/explain/conditionals.h"

namespace weir::explain {

using nlohmann::json;

namespace {

/// A folder that goes with this object.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-bench-explain-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_case(const Case& incident, const MurphySettings& settings, const std::filesystem::path& folder) {
  const PastModel& past = *incident.past;
  json about{{"rows", past.rows() + incident.rows()},
             {"onset", past.rows() + incident.onset},
             {"symptom", incident.symptom},
             {"way", static_cast<int>(incident.way)},
             {"causes", past.callees},
             {"settings",
              {{"features", settings.features},
               {"ridge", ConditionalSettings{}.ridge},
               {"rounds", settings.rounds},
               {"samples", settings.samples}}}};
  std::ofstream values(folder / "values.f32", std::ios::binary);
  for (std::uint32_t metric = 0; metric < past.metrics.size(); ++metric) {
    about["entity_of"].push_back(past.metrics[metric].entity);
    about["centre"].push_back(past.baselines[metric].centre);
    about["scale"].push_back(past.baselines[metric].scale);
    for (const auto series : {past.series(metric), incident.series(metric)}) {
      values.write(reinterpret_cast<const char*>(series.data()), static_cast<std::streamsize>(series.size_bytes()));
    }
  }
  std::ofstream(folder / "case.json") << about;
}

}  // namespace

Result<NumpyRun> run_numpy_murphy(const Case& incident, const MurphySettings& settings) {
  const Folder folder;
  if (folder.path().empty()) return fail(Errc::failed, "cannot make a temporary folder");
  write_case(incident, settings, folder.path());
  const std::string command = fmt::format("OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 /usr/bin/python3 '{}' '{}' 2>&1",
                                          WEIR_MURPHY_NUMPY, folder.path().string());
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  if (pipe == nullptr) return fail(Errc::failed, "cannot run /usr/bin/python3");
  std::string output;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe.get())) output.append(buffer.data(), got);
  const json answer = json::parse(output, nullptr, false);
  if (answer.is_discarded()) {
    const bool without =
        output.find("No module named 'numpy'") != std::string::npos || output.find("not found") != std::string::npos;
    return without ? fail(Errc::unsupported, "/usr/bin/python3 has no numpy (apt-get install python3-numpy)")
                   : fail(Errc::failed, fmt::format("murphy_numpy.py: {}", output));
  }
  return NumpyRun{answer["seconds"], answer["ranking"]};
}

}  // namespace weir::explain
