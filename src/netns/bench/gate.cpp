#include "netns/bench/gate.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "sys/host.h"

namespace weir::netns::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "weir.netns_baseline/1";

/// "model name" of x86, "CPU part" of arm64 in /proc/cpuinfo, the first processor's.
std::string cpu_model(std::string_view cpuinfo) {
  for (const std::string_view key : {"model name", "CPU part", "cpu"}) {
    for (const std::string_view line : split(cpuinfo, '\n')) {
      const std::size_t colon = line.find(':');
      if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key) {
        return std::string(trim(line.substr(colon + 1)));
      }
    }
  }
  return "unknown";
}

}  // namespace

Result<GateKey> gate_key(const sys::FileTree& root) {
  auto kernel = sys::kernel_release(root);
  if (!kernel) return pass(std::move(kernel));
  auto cpuinfo = root.text("proc/cpuinfo");
  if (!cpuinfo) return pass(std::move(cpuinfo));
#ifdef NDEBUG
  constexpr const char* kBuild = "release";
#else
  constexpr const char* kBuild = "debug";
#endif
  return GateKey{std::move(*kernel), cpu_model(*cpuinfo), kBuild};
}

std::string Baseline::json() const {
  const Json document = {{"schema", kSchema},
                         {"key", {{"kernel", key.kernel}, {"cpu", key.cpu}, {"build", key.build}}},
                         {"namespaces", namespaces},
                         {"getppid_ns", getppid_ns},
                         {"switch_in_getppids", in_getppids}};
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Baseline> Baseline::parse(std::string_view json) {
  const auto refuse = [](const std::string& why) {
    return fail(Errc::usage, "no baseline: " + why, "written by weir netns bench --save FILE");
  };
  const Json document = Json::parse(json, nullptr, false);
  if (document.is_discarded() || !document.is_object()) return refuse("not a JSON object");
  if (document.value("schema", Json()) != Json(kSchema)) return refuse(std::string("its schema is not ") + kSchema);
  try {
    Baseline baseline;
    const Json& key = document.at("key");
    baseline.key = {key.at("kernel").get<std::string>(), key.at("cpu").get<std::string>(),
                    key.at("build").get<std::string>()};
    baseline.namespaces = document.at("namespaces").get<std::size_t>();
    baseline.getppid_ns = document.at("getppid_ns").get<double>();
    baseline.in_getppids = document.at("switch_in_getppids").get<std::vector<double>>();
    const auto sound = [](double sample) { return sample > 0; };
    if (!sound(baseline.getppid_ns)) return refuse("getppid_ns is not positive");
    if (baseline.in_getppids.empty() || !std::ranges::all_of(baseline.in_getppids, sound)) {
      return refuse("switch_in_getppids has no positive samples");
    }
    return baseline;
  } catch (const Json::exception& error) {
    return refuse(error.what());
  }
}

Verdict judge(std::span<const double> then, std::span<const double> now, const Bootstrap& bootstrap, double tolerance) {
  Verdict verdict{.ratio = ratio_of_medians(now, then, bootstrap), .tolerance = tolerance};
  verdict.worse = verdict.ratio.value > 1 + tolerance && verdict.ratio.interval.low > 1;
  verdict.better = verdict.ratio.value < 1 / (1 + tolerance) && verdict.ratio.interval.high < 1;
  return verdict;
}

Verdict judge(const Baseline& then, const Baseline& now, const Bootstrap& bootstrap) {
  Verdict verdict = judge(std::span<const double>(then.in_getppids), now.in_getppids, bootstrap);
  constexpr double kSameSpeed = 0.08;
  verdict.calm = std::abs(now.getppid_ns / then.getppid_ns - 1) <= kSameSpeed;
  verdict.worse = verdict.worse && verdict.calm;
  verdict.better = verdict.better && verdict.calm;
  return verdict;
}

Result<void> comparable(const Baseline& then, const GateKey& key, std::size_t namespaces) {
  const auto differ = [](const std::string& what, const std::string& before, const std::string& now) {
    return fail(Errc::usage, "the baseline is of another " + what + ": " + before + ", here " + now,
                "figures of different machines cannot be compared; write a new one with --save");
  };
  if (then.key.kernel != key.kernel) return differ("kernel", then.key.kernel, key.kernel);
  if (then.key.cpu != key.cpu) return differ("CPU", then.key.cpu, key.cpu);
  if (then.key.build != key.build) return differ("build", then.key.build, key.build);
  if (then.namespaces != namespaces) {
    return differ("number of namespaces", std::to_string(then.namespaces), std::to_string(namespaces));
  }
  return {};
}

}  // namespace weir::netns::bench
