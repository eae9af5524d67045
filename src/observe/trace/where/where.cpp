#include "observe/trace/where/where.h"

#include <arpa/inet.h>

#include <algorithm>

namespace weir::observe {

namespace {

bool in_network(const std::string& address, bool v6, std::span<const std::uint8_t, 16> network, int prefix) {
  std::array<std::uint8_t, 16> bytes{};
  if (inet_pton(v6 ? AF_INET6 : AF_INET, address.c_str(), bytes.data()) != 1) return false;
  const auto whole = static_cast<std::size_t>(prefix / 8);
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(whole), network.begin())) return false;
  const int rest = prefix % 8;
  return rest == 0 || ((bytes[whole] ^ network[whole]) >> (8 - rest)) == 0;
}

}  // namespace

bool Where::is(const Literal& literal, const Value& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return (*number & literal.mask) == literal.number;
  const std::string_view text = std::get<std::string_view>(value);
  if (literal.prefix) return in_network(std::string(text), literal.v6, literal.network, *literal.prefix);
  return text == literal.text;
}

bool Where::holds(const Comparison& comparison, const Value& value) {
  if (std::holds_alternative<std::monostate>(value)) return comparison.op == Operator::not_equal;
  const auto among = [&] {
    return std::ranges::any_of(comparison.literals, [&](const Literal& literal) { return is(literal, value); });
  };
  if (comparison.op == Operator::equal) return among();
  if (comparison.op == Operator::not_equal) return !among();
  const std::uint64_t left = std::get<std::uint64_t>(value);
  const std::uint64_t right = comparison.literals.front().number;
  switch (comparison.op) {
    case Operator::less:
      return left < right;
    case Operator::less_or_equal:
      return left <= right;
    case Operator::greater:
      return left > right;
    default:
      return left >= right;
  }
}

bool Where::holds(const Node& node, const std::function<Value(std::size_t)>& value_of) const {
  const auto child = [&](std::size_t index) { return holds(nodes_[index], value_of); };
  switch (node.kind) {
    case Node::Kind::all:
      return std::ranges::all_of(node.children, child);
    case Node::Kind::any:
      return std::ranges::any_of(node.children, child);
    case Node::Kind::none:
      return std::ranges::none_of(node.children, child);
    default:
      return holds(node.comparison, value_of(node.comparison.field));
  }
}

bool Where::matches(const std::function<Value(std::size_t)>& value_of) const {
  return holds(nodes_[root_], value_of);
}

bool Where::uses(std::size_t field) const {
  return std::ranges::any_of(
      nodes_, [&](const Node& node) { return node.kind == Node::Kind::compare && node.comparison.field == field; });
}

}  // namespace weir::observe
