// The torture test alone, linked to a deliberately broken library: mutant SEED SECONDS. Exit code 1: it was noticed.
#include <cstdio>
#include <cstdlib>

#include "netns/torture/torture.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  weir::netns::TortureOptions options;
  options.namespaces = 64;
  options.threads = 4;
  options.seed = std::strtoull(argv[1], nullptr, 10);
  options.duration = std::chrono::seconds(std::strtol(argv[2], nullptr, 10));
  const auto report = weir::netns::run_torture(options, [] { return false; });
  if (!report) {
    std::printf("error: %s\n", report.error().message.c_str());
    return 3;
  }
  std::printf("%.1f s\n", report->seconds);
  for (const auto& broken : report->invariants_broken) {
    std::printf("%s: %s: %s\n", broken.invariant.c_str(), broken.actor.c_str(), broken.what.c_str());
  }
  return report->broken == 0 ? 0 : 1;
}
