// Recursive descent; the grammar is in where.h.
#include <arpa/inet.h>

#include <algorithm>

#include "base/text.h"
#include "observe/trace/where/lexer.h"
#include "observe/trace/where/where.h"

namespace weir::observe {

class WhereParser {
 public:
  WhereParser(std::string_view expression, std::span<const Field> fields, std::vector<Token> tokens)
      : expression_(expression), fields_(fields), tokens_(std::move(tokens)) {}

  Result<Where> run();

 private:
  using Literal = Where::Literal;
  using Node = Where::Node;
  using Index = Result<std::size_t>;  ///< of a node
  static constexpr int kDeepest = 100;

  Index joined(std::string_view sign, std::string_view word, Node::Kind kind, Index (WhereParser::*part)());
  Index any() { return joined("||", "or", Node::Kind::any, &WhereParser::all); }
  Index all() { return joined("&&", "and", Node::Kind::all, &WhereParser::one); }
  Index one();
  Index enclosed();
  Index comparison();
  Result<std::size_t> field();
  Result<void> values(const Field& of, std::vector<Literal>& into);
  Result<Literal> value(const Field& of);
  Result<Literal> number(const Field& of, const Token& token);
  Result<Literal> address(const Field& of, const Token& token);

  std::size_t add(Node node) {
    out_.nodes_.push_back(std::move(node));
    return out_.nodes_.size() - 1;
  }
  [[nodiscard]] const Token& next() const { return tokens_[at_]; }
  Token take() { return next().kind == Token::Kind::end ? next() : tokens_[at_++]; }
  bool take_if(std::string_view sign, std::string_view word = {}) {
    if (!next().is(sign) && (word.empty() || !next().is_word(word))) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] std::unexpected<Error> wrong(const Token& token, const std::string& what,
                                             const std::string& advice = {}) const {
    return mistake(expression_, token.begin, token.end, what, advice);
  }
  /// "expected X, not Y"
  [[nodiscard]] std::unexpected<Error> expected(const std::string& what, const std::string& advice = {}) const {
    const bool ends = next().kind == Token::Kind::end;
    const std::string found = printable(expression_.substr(next().begin, next().end - next().begin));
    return wrong(next(), "expected " + what + (ends ? ", but it ends" : ", not " + found), advice);
  }

  std::string_view expression_;
  std::span<const Field> fields_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Where out_;
};

namespace {

std::optional<std::uint64_t> read_number(std::string_view text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  return hex ? parse_u64(text.substr(2), 16) : parse_u64(text);
}

const char* article_and_kind(FieldKind kind) {
  switch (kind) {
    case FieldKind::number:
      return "a number";
    case FieldKind::text:
      return "text";
    default:
      return "an address";
  }
}

}  // namespace

Result<Where> WhereParser::run() {
  auto root = any();
  if (!root) return pass(std::move(root));
  if (next().kind != Token::Kind::end) return expected("&& or ||");
  out_.root_ = *root;
  return std::move(out_);
}

WhereParser::Index WhereParser::joined(std::string_view sign, std::string_view word, Node::Kind kind,
                                       Index (WhereParser::*part)()) {
  Node node;
  node.kind = kind;
  do {
    auto child = (this->*part)();
    if (!child) return child;
    node.children.push_back(*child);
  } while (take_if(sign, word));
  return node.children.size() == 1 ? node.children.front() : add(std::move(node));
}

WhereParser::Index WhereParser::one() {
  if (++depth_ > kDeepest) return wrong(next(), "nested too deeply");
  auto out = enclosed();
  --depth_;
  return out;
}

WhereParser::Index WhereParser::enclosed() {
  if (take_if("!", "not")) {
    auto child = one();
    if (!child) return child;
    Node node;
    node.kind = Node::Kind::none;
    node.children.push_back(*child);
    return add(std::move(node));
  }
  if (!take_if("(")) return comparison();
  auto inside = any();
  if (inside && !take_if(")")) return expected("a closing )");
  return inside;
}

Result<std::size_t> WhereParser::field() {
  if (next().kind != Token::Kind::word) return expected("a field");
  const auto found = std::ranges::find(fields_, next().text, &Field::name);
  if (found != fields_.end()) {
    ++at_;
    return static_cast<std::size_t>(found - fields_.begin());
  }
  std::vector<std::string> names;
  for (const Field& field : fields_) names.push_back(field.name);
  if (read_number(next().text)) return expected("a field", "the field comes first: len > 1400");
  return wrong(next(), "unknown field " + printable(next().text), suggest(next().text, names));
}

WhereParser::Index WhereParser::comparison() {
  using Operator = Where::Operator;
  constexpr std::pair<std::string_view, Operator> kSigns[] = {
      {"==", Operator::equal},         {"!=", Operator::not_equal},
      {"<=", Operator::less_or_equal}, {">=", Operator::greater_or_equal},
      {"<", Operator::less},           {">", Operator::greater}};
  const auto which = field();
  if (!which) return std::unexpected(which.error());
  const Field& of = fields_[*which];
  Node node;
  node.comparison.field = *which;
  const Token sign = next();
  if (take_if({}, "not") || next().is_word("in")) {
    node.comparison.op = sign.is_word("not") ? Operator::not_equal : Operator::equal;
    if (!take_if({}, "in")) return expected("\"in\"");
    if (auto done = values(of, node.comparison.literals); !done) return std::unexpected(done.error());
    return add(std::move(node));
  }
  const auto* found = std::ranges::find(kSigns, sign.text, &std::pair<std::string_view, Operator>::first);
  if (sign.kind != Token::Kind::sign || found == std::end(kSigns)) {
    return expected("a comparison with " + of.name + " (== != < <= > >= in)");
  }
  ++at_;
  node.comparison.op = found->second;
  const bool orders = found->second != Operator::equal && found->second != Operator::not_equal;
  if (orders && of.kind != FieldKind::number) {
    return wrong(sign, of.name + " is " + article_and_kind(of.kind) + ": it has no order",
                 "only == != and in compare it");
  }
  const Token literal_at = next();
  auto literal = value(of);
  if (!literal) return pass(std::move(literal));
  if (orders && ~literal->mask != 0) return wrong(literal_at, "a mask has no order", "only == != and in take one");
  node.comparison.literals.push_back(std::move(*literal));
  return add(std::move(node));
}

Result<void> WhereParser::values(const Field& of, std::vector<Literal>& into) {
  if (!take_if("(")) return expected("a list in parentheses", "for example: " + of.name + " in (" + "a, b)");
  do {
    auto literal = value(of);
    if (!literal) return pass(std::move(literal));
    into.push_back(std::move(*literal));
  } while (take_if(","));
  if (!take_if(")")) return expected("a comma or a closing )");
  return {};
}

Result<Where::Literal> WhereParser::value(const Field& of) {
  if (next().kind != Token::Kind::word && next().kind != Token::Kind::quoted) {
    return expected(std::string(article_and_kind(of.kind)) + " for " + of.name);
  }
  const Token token = take();
  if (of.kind == FieldKind::number) return number(of, token);
  if (of.kind == FieldKind::address) return address(of, token);
  if (token.kind == Token::Kind::word && read_number(token.text)) {
    return wrong(token, of.name + " is text, not a number", "if it is called so, quote it: \"" + token.text + "\"");
  }
  Literal out;
  out.text = token.text;
  return out;
}

Result<Where::Literal> WhereParser::number(const Field& of, const Token& token) {
  const std::size_t slash = token.text.find('/');
  Literal out;
  std::vector<std::string> words;
  for (const auto& [word, stands_for] : of.words) {
    words.push_back(word);
    if (word != token.text) continue;
    out.number = stands_for;
    return out;
  }
  const auto read = token.kind == Token::Kind::word ? read_number(token.text.substr(0, slash)) : std::nullopt;
  if (!read) {
    return wrong(token,
                 of.name + " is a number" + (words.empty() ? "" : " or a name of one") + ", and " +
                     printable(token.text) + " is not",
                 suggest(token.text, words));
  }
  out.number = *read;
  if (slash == std::string::npos) return out;
  const auto mask = read_number(token.text.substr(slash + 1));
  if (!mask) return wrong(token, "the mask is no number", "for example: " + of.name + " == 0x10/0xff");
  if ((out.number & ~*mask) != 0) return wrong(token, "never true: the number has bits that the mask leaves out");
  out.mask = *mask;
  return out;
}

Result<Where::Literal> WhereParser::address(const Field& of, const Token& token) {
  const std::size_t slash = token.text.find('/');
  const std::string text = token.text.substr(0, slash);
  Literal out;
  out.v6 = text.find(':') != std::string::npos;
  const int family = out.v6 ? AF_INET6 : AF_INET;
  if (inet_pton(family, text.c_str(), out.network.data()) != 1) {
    return wrong(token, of.name + " is an address, and " + printable(text) + " is none",
                 "for example: " + of.name + " == 10.0.0.1, or a network: 2001:db8::/32");
  }
  if (slash != std::string::npos) {
    const auto prefix = parse_u64(token.text.substr(slash + 1));
    const std::uint64_t most = out.v6 ? 128 : 32;
    if (!prefix || *prefix > most) return wrong(token, "the prefix must be 0 to " + std::to_string(most));
    out.prefix = static_cast<int>(*prefix);
    return out;
  }
  char canonical[INET6_ADDRSTRLEN] = {};
  out.text = inet_ntop(family, out.network.data(), canonical, sizeof canonical);
  return out;
}

Result<Where> Where::parse(std::string_view expression, std::span<const Field> fields) {
  auto tokens = tokenize(expression);
  if (!tokens) return pass(std::move(tokens));
  return WhereParser(expression, fields, std::move(*tokens)).run();
}

}  // namespace weir::observe
