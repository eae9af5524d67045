// Conditions on events, as `--where` takes them: netns == pod1 && (dev in (eth0, nic0) || queue_mapping != 0). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace weir::observe {

enum class FieldKind : std::uint8_t {
  number,
  text,
  address,  ///< of IPv4 or IPv6, compared with addresses and with networks ("10.0.0.0/8")
};

/// What a condition can speak of.
struct Field {
  std::string name;
  FieldKind kind = FieldKind::number;
  std::string docs;                                               ///< one line for people
  std::vector<std::pair<std::string, std::uint64_t>> words = {};  ///< names that numbers of this field have
};

/// What a field is at an event. monostate: the event has no such thing. Text must live as long as the comparison; that
/// of an address is as inet_ntop() writes it.
using Value = std::variant<std::monostate, std::uint64_t, std::string_view>;

/// A condition that has been read and checked. Immutable; may be used by several threads at once.
///
///     condition  = { "!" } ( comparison | "(" condition ")" ), joined by "&&" and, weaker, "||"
///     comparison = field ( "==" | "!=" ) value | field ( "<" | "<=" | ">" | ">=" ) number
///                | field [ "not" ] "in" "(" value { "," value } ")"
///     value      = number [ "/" mask ] | word | "quoted" | 'quoted'
///
/// Numbers are decimal or 0x…; with a mask only its bits are compared. The words `and`, `or` and `not` do as well as
/// the signs. Where the event has no such field, every comparison is false but != and `not in`.
class Where {
 public:
  /// Errc::usage with what is wrong and at which character; the hint shows the place and near names.
  static Result<Where> parse(std::string_view expression, std::span<const Field> fields);

  /// `value_of` gives the value of a field by its index in the table that parse() was given.
  [[nodiscard]] bool matches(const std::function<Value(std::size_t)>& value_of) const;

  /// Whether the condition speaks of the field with this index.
  [[nodiscard]] bool uses(std::size_t field) const;

 private:
  friend class WhereParser;

  enum class Operator : std::uint8_t { equal, not_equal, less, less_or_equal, greater, greater_or_equal };
  /// What a field is compared with.
  struct Literal {
    std::uint64_t number = 0;
    std::uint64_t mask = ~std::uint64_t{0};
    std::string text;
    std::optional<int> prefix;               ///< bits of `network` that count; nothing: the text is the address
    std::array<std::uint8_t, 16> network{};  ///< IPv4: the first four
    bool v6 = false;
  };
  struct Comparison {
    std::size_t field = 0;
    Operator op = Operator::equal;
    std::vector<Literal> literals;  ///< more than one for `in`: any of them
  };
  struct Node {
    enum class Kind : std::uint8_t { all, any, none, compare } kind = Kind::compare;
    std::vector<std::size_t> children;
    Comparison comparison;
  };

  Where() = default;
  [[nodiscard]] bool holds(const Node& node, const std::function<Value(std::size_t)>& value_of) const;
  static bool holds(const Comparison& comparison, const Value& value);
  static bool is(const Literal& literal, const Value& value);

  std::vector<Node> nodes_;
  std::size_t root_ = 0;
};

}  // namespace weir::observe
