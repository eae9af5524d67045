#include "observe/trace/functions.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/text.h"

namespace weir::observe::attach {

namespace {

/// Which argument of a function is `struct sk_buff *`, from 1; 0: none of those that come in registers.
unsigned packet_argument(const btf* types, const btf_type* function) {
  const btf_type* prototype = btf__type_by_id(types, function->type);
  const btf_param* parameters = btf_params(prototype);
  const unsigned count = std::min<unsigned>(btf_vlen(prototype), kMostArguments);
  for (unsigned index = 0; index < count; ++index) {
    const btf_type* type = btf__type_by_id(types, parameters[index].type);
    if (type == nullptr || !btf_is_ptr(type)) continue;
    type = btf__type_by_id(types, type->type);
    while (type != nullptr && (btf_is_mod(type) || btf_is_typedef(type))) type = btf__type_by_id(types, type->type);
    if (type != nullptr && btf_is_struct(type) &&
        std::string_view(btf__name_by_offset(types, type->name_off)) == "sk_buff") {
      return index + 1;
    }
  }
  return 0;
}

bool matches_pattern(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

Error no_match(const std::string& pattern, bool without_packet, const std::vector<std::string>& names) {
  if (without_packet) {
    return {Errc::usage, fmt::format("--probe fn:{}: the function takes no packet", pattern),
            "a struct sk_buff * among the first five arguments is needed", 0};
  }
  return {Errc::usage, fmt::format("--probe fn:{}: this kernel has no such function", pattern),
          suggest(pattern, nearest(pattern, names)), 0};
}

}  // namespace

Result<std::vector<PacketFunction>> packet_functions(const btf* types, const std::vector<std::string>& patterns) {
  std::vector<PacketFunction> found;
  std::vector<std::string> names;
  std::vector<bool> matched(patterns.size());
  std::vector<bool> without_packet(patterns.size());
  std::set<std::string> taken;
  for (std::uint32_t id = 1; id < btf__type_cnt(types); ++id) {
    const btf_type* type = btf__type_by_id(types, id);
    if (!btf_is_func(type)) continue;
    const std::string name = btf__name_by_offset(types, type->name_off);
    const unsigned argument = packet_argument(types, type);
    if (argument != 0) names.push_back(name);
    for (std::size_t index = 0; index < patterns.size(); ++index) {
      if (!matches_pattern(patterns[index], name)) continue;
      if (argument == 0) {
        without_packet[index] = true;
        continue;
      }
      matched[index] = true;
      if (taken.insert(name).second) found.push_back({name, argument, id});
    }
  }
  for (std::size_t index = 0; index < patterns.size(); ++index) {
    if (!matched[index]) return std::unexpected(no_match(patterns[index], without_packet[index], names));
  }
  const std::size_t most = WEIR_TRACE_HOOKS - WEIR_HOOK_FUNCTIONS;
  if (found.size() > most) {
    return fail(Errc::usage, fmt::format("--probe: {} functions match, {} is the most", found.size(), most),
                "narrow the pattern");
  }
  return found;
}

}  // namespace weir::observe::attach
