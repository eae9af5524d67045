// JSON written straight into a string, for documents that come by the hundred thousand: a tree of values first costs
// five times as much.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace weir::model {

/// Writes one line of JSON. Keys must need no escaping; strings may be any bytes, what is not UTF-8 is replaced.
class JsonWriter {
 public:
  /// An object: what `fill()` writes by field() stands in it.
  template <std::invocable Fill>
  void object(Fill&& fill) {
    nest('{', '}', fill);
  }
  /// An array: of each item() that `fill()` calls.
  template <std::invocable Fill>
  void array(Fill&& fill) {
    nest('[', ']', fill);
  }

  void null() { text_ += "null"; }
  void value(bool truth) { text_ += truth ? "true" : "false"; }
  template <std::integral T>
  void value(T number) {
    const fmt::format_int digits(number);
    text_.append(digits.data(), digits.size());
  }
  void value(std::string_view text);
  void value(const std::string& text) { value(std::string_view(text)); }
  void value(const char* text) { value(std::string_view(text)); }
  template <class T>
  void value(const std::optional<T>& maybe) {
    maybe ? value(*maybe) : null();
  }

  /// A key of the current object; a value must follow.
  void key(std::string_view name) {
    separate();
    text_ += '"';
    text_ += name;
    text_ += "\":";
  }
  template <class T>
  void field(std::string_view name, const T& content) {
    key(name);
    value(content);
  }
  template <std::invocable Fill>
  void object(std::string_view name, Fill&& fill) {
    key(name);
    object(fill);
  }
  template <std::invocable Fill>
  void array(std::string_view name, Fill&& fill) {
    key(name);
    array(fill);
  }
  /// The next element of the current array; a value must follow.
  void item() { separate(); }
  /// JSON that is made already.
  void raw(std::string_view json) { text_ += json; }

  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  template <class Fill>
  void nest(char open, char close, Fill& fill) {
    text_ += open;
    first_ = true;
    fill();
    text_ += close;
    first_ = false;
  }
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  std::string text_;
  bool first_ = true;
};

}  // namespace weir::model
