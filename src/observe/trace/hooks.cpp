#include "observe/trace/hooks.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"
#include "observe/trace/bpf/trace_hooks.h"
#include "trace_profiles.gen.h"

namespace weir::observe {

namespace {

constexpr std::array kTracepoints{
#define X(number, program, name, begins, arguments) Tracepoint{number, #program, name, (begins) != 0, arguments},
    WEIR_TRACEPOINTS(X)
#undef X
};

// Around the kernel's own priorities (enum nf_ip_hook_priorities): conntrack -200, mangle -150, dnat -100, filter 0,
// snat 100; first lies before defragmentation (-400), last behind the helpers of conntrack (300).
constexpr std::array<NfSlot, 7> kNfSlots{{{"first", "nf_first", -451},
                                          {"conntrack", "nf_conntrack", -199},
                                          {"mangle", "nf_mangle", -149},
                                          {"dnat", "nf_dnat", -99},
                                          {"filter", "nf_filter", 1},
                                          {"snat", "nf_snat", 101},
                                          {"last", "nf_last", 451}}};
static_assert(kNfSlots.size() <= WEIR_NF_SLOTS);

constexpr std::array<std::string_view, 5> kNfHooks{"PRE_ROUTING", "LOCAL_IN", "FORWARD", "LOCAL_OUT", "POST_ROUTING"};

void insert_sorted(std::vector<std::uint16_t>& numbers, std::uint16_t number) {
  const auto at = std::ranges::lower_bound(numbers, number);
  if (at == numbers.end() || *at != number) numbers.insert(at, number);
}

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

Result<void> add_nf(HookChoice& choice, std::string_view slot) {
  bool found = false;
  for (unsigned index = 0; index < kNfSlots.size(); ++index) {
    if (slot != "*" && slot != kNfSlots[index].name) continue;
    found = true;
    if (std::ranges::find(choice.nf_slots, index) == choice.nf_slots.end()) choice.nf_slots.push_back(index);
  }
  std::ranges::sort(choice.nf_slots);
  if (found) return {};
  std::vector<std::string> known;
  for (const NfSlot& one : kNfSlots) known.emplace_back(one.name);
  return fail(Errc::usage, fmt::format("--probe nf:{}: no such place in netfilter", slot), suggest(slot, known));
}

std::string_view without_prefix(std::string_view word, std::initializer_list<std::string_view> prefixes) {
  for (const std::string_view prefix : prefixes) {
    if (word.starts_with(prefix)) return word.substr(prefix.size());
  }
  return {};
}

}  // namespace

std::span<const Tracepoint> tracepoints() {
  return kTracepoints;
}
std::span<const NfSlot> nf_slots() {
  return kNfSlots;
}
std::span<const std::string_view> nf_hooks() {
  return kNfHooks;
}

Result<void> add_probe(HookChoice& choice, const std::string& word) {
  if (word == "tcx") {
    choice.tcx = true;
    return {};
  }
  if (word == "nf") return add_nf(choice, "*");
  if (const auto slot = without_prefix(word, {"nf:"}); !slot.empty()) return add_nf(choice, slot);
  if (const auto function = without_prefix(word, {"fn:", "kprobe:"}); !function.empty()) {
    choice.functions.emplace_back(function);
    return {};
  }
  const std::string_view given = word.starts_with("tp:") ? std::string_view(word).substr(3) : word;
  bool found = false;
  for (const Tracepoint& one : kTracepoints) {
    if (!matches(given, one.name) && !matches(given, one.program)) continue;
    insert_sorted(choice.tracepoints, one.number);
    insert_sorted(choice.named, one.number);
    found = true;
  }
  if (found) return {};
  std::vector<std::string> known{"nf", "tcx"};
  for (const Tracepoint& one : kTracepoints) known.emplace_back(one.name);
  std::string near = suggest(word, known);
  if (near.empty()) near = "see weir trace --list-hooks; a function of the kernel is fn:NAME";
  return fail(Errc::usage, fmt::format("--probe {}: no such hook", word), near);
}

Result<Profile> parse_profile(std::string_view json, const std::string& file) {
  const auto document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) return fail(Errc::usage, file + ": no JSON object");
  Profile profile;
  for (const auto& [key, value] : document.items()) {
    if (key == "name" && value.is_string()) {
      profile.name = value.get<std::string>();
    } else if (key == "description" && value.is_string()) {
      profile.description = value.get<std::string>();
    } else if (key == "stack" && value.is_boolean()) {
      profile.stack = value.get<bool>();
    } else if (key == "probes" && value.is_array()) {
      for (const auto& probe : value) {
        if (!probe.is_string()) return fail(Errc::usage, file + ": probes: a list of words is expected");
        if (auto added = add_probe(profile.hooks, probe.get<std::string>()); !added)
          return pass(std::move(added), file);
      }
    } else {
      return fail(Errc::usage, fmt::format("{}: {}: unknown, or of another type than expected", file, key),
                  "known: name, description (text), probes (list of text), stack (true or false)");
    }
  }
  profile.hooks.named.clear();
  return profile;
}

const std::vector<Profile>& profiles() {
  static const std::vector<Profile> all = [] {
    std::vector<Profile> read;
    for (const std::string_view text : kProfileTexts) {
      // Ours are checked by a test.
      if (auto profile = parse_profile(text, "built-in profile")) read.push_back(*std::move(profile));
    }
    return read;
  }();
  return all;
}

Result<Profile> find_profile(const std::string& word) {
  if (word.contains('/') || word.ends_with(".json")) {
    const std::ifstream file(word);
    if (!file) return fail_errno(errno, "--profile " + word);
    std::ostringstream text;
    text << file.rdbuf();
    return parse_profile(text.str(), word);
  }
  std::vector<std::string> known;
  for (const Profile& profile : profiles()) {
    if (profile.name == word) return profile;
    known.push_back(profile.name);
  }
  return fail(Errc::usage, fmt::format("--profile {}: no such profile", word), suggest(word, known));
}

std::string fixed_hook_name(std::uint16_t number) {
  if (number == WEIR_HOOK_TCX_INGRESS) return "tcx:ingress";
  if (number == WEIR_HOOK_TCX_EGRESS) return "tcx:egress";
  if (number >= WEIR_HOOK_NF && number < WEIR_HOOK_NF + kNfHooks.size() * WEIR_NF_SLOTS) {
    const unsigned index = number - WEIR_HOOK_NF;
    const unsigned slot = index % WEIR_NF_SLOTS;
    if (slot >= kNfSlots.size()) return {};
    return fmt::format("nf:{}:{}", kNfHooks[index / WEIR_NF_SLOTS], kNfSlots[slot].name);
  }
  const auto found = std::ranges::find(kTracepoints, number, &Tracepoint::number);
  return found == kTracepoints.end() ? std::string{} : std::string(found->name);
}

}  // namespace weir::observe
