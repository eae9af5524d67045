#include "observe/trace/where/lexer.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"

namespace weir::observe {

namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/// Names of devices, functions, containers; addresses; numbers with a mask. Everything that is not ASCII, too.
bool is_word_part(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || std::isalnum(byte) != 0 || std::string_view("_.:-/@+#%").find(c) != std::string_view::npos;
}

/// Characters, not bytes: what has a column of its own in a terminal, more or less.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string_view sign_at(std::string_view rest) {
  for (const std::string_view sign : {"&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", ","}) {
    if (rest.starts_with(sign)) return sign;
  }
  return {};
}

/// What people write who know other languages.
std::string advice_for(char c) {
  switch (c) {
    case '=':
      return "to compare, write ==";
    case '&':
      return "write && for \"and\"; bits are tested as in mark == 0x10/0xff";
    case '|':
      return "write || for \"or\"";
    default:
      return "names with unusual characters go between quotes";
  }
}

Result<Token> quoted_at(std::string_view expression, std::size_t begin) {
  const char quote = expression[begin];
  Token token{Token::Kind::quoted, "", begin, begin + 1};
  for (; token.end < expression.size(); ++token.end) {
    char c = expression[token.end];
    if (c == quote) {
      ++token.end;
      return token;
    }
    if (c == '\\' && token.end + 1 < expression.size()) c = expression[++token.end];
    token.text += c;
  }
  return mistake(expression, begin, expression.size(), "the quote is not closed");
}

}  // namespace

std::unexpected<Error> mistake(std::string_view expression, std::size_t begin, std::size_t end, const std::string& what,
                               const std::string& advice) {
  const std::size_t column = columns(expression.substr(0, begin));
  const std::size_t width = std::max<std::size_t>(columns(expression.substr(begin, end - begin)), 1);
  std::string hint = printable(expression) + "\n" + std::string(column, ' ') + std::string(width, '^');
  if (!advice.empty()) hint += "\n" + advice;
  return fail(Errc::usage, what + ", at character " + std::to_string(column + 1), hint);
}

Result<std::vector<Token>> tokenize(std::string_view expression) {
  std::vector<Token> tokens;
  std::size_t at = 0;
  while (at < expression.size()) {
    const char c = expression[at];
    if (is_space(c)) {
      ++at;
      continue;
    }
    Token token{Token::Kind::word, "", at, at};
    if (c == '"' || c == '\'') {
      auto quoted = quoted_at(expression, at);
      if (!quoted) return pass(std::move(quoted));
      token = std::move(*quoted);
    } else if (is_word_part(c)) {
      while (token.end < expression.size() && is_word_part(expression[token.end])) ++token.end;
      token.text = expression.substr(at, token.end - at);
    } else if (const std::string_view sign = sign_at(expression.substr(at)); !sign.empty()) {
      token = {Token::Kind::sign, std::string(sign), at, at + sign.size()};
    } else {
      return mistake(expression, at, at + 1, "unexpected " + printable(expression.substr(at, 1)), advice_for(c));
    }
    at = token.end;
    tokens.push_back(std::move(token));
  }
  tokens.push_back({Token::Kind::end, "", expression.size(), expression.size()});
  return tokens;
}

}  // namespace weir::observe
