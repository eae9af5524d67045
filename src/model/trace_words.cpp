#include "model/trace_words.h"

#include <array>

namespace weir::model {

const char* checksum_text(std::uint8_t ip_summed) {
  constexpr std::array kNames{"none", "unnecessary", "complete", "partial"};
  return ip_summed < kNames.size() ? kNames[ip_summed] : "unknown";
}

std::vector<std::string> conntrack_status_words(std::uint32_t status) {
  constexpr std::array kNames{"expected",   "seen-reply",   "assured",      "confirmed", "src-nat",       "dst-nat",
                              "seq-adjust", "src-nat-done", "dst-nat-done", "dying",     "fixed-timeout", "template",
                              "nat-clash",  "helper",       "offload",      "hw-offload"};
  std::vector<std::string> words;
  for (std::size_t bit = 0; bit < kNames.size(); ++bit) {
    if ((status >> bit & 1U) != 0) words.emplace_back(kNames[bit]);
  }
  return words;
}

}  // namespace weir::model
