// Whatever hook can be asked for has its heading in docs/events, and each page its place in the index.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "observe/trace/hooks.h"

namespace weir {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(WEIR_SOURCE_DIR) / "docs/events";

/// The words in backticks of the headings of all pages; each must be there once.
std::multiset<std::string> headings() {
  std::multiset<std::string> words;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    std::ifstream page(entry.path());
    for (std::string line; std::getline(page, line);) {
      if (!line.starts_with("## ")) continue;
      for (std::size_t at = line.find('`'); at != std::string::npos; at = line.find('`', at)) {
        const std::size_t end = line.find('`', at + 1);
        words.insert(line.substr(at + 1, end - at - 1));
        at = end + 1;
      }
    }
  }
  return words;
}

TEST(EventsDocs, EachHookHasOneHeading) {
  const auto words = headings();
  for (const observe::Tracepoint& one : observe::tracepoints()) {
    EXPECT_EQ(words.count(std::string(one.name)), 1U) << one.name;
  }
  for (const observe::NfSlot& slot : observe::nf_slots()) {
    EXPECT_EQ(words.count("nf:" + std::string(slot.name)), 1U) << slot.name;
  }
  for (const char* word : {"tcx", "fn:NAME"}) EXPECT_EQ(words.count(word), 1U) << word;
}

TEST(EventsDocs, EachHeadingIsAHook) {
  for (const std::string& word : headings()) {
    if (word.starts_with("nft:")) continue;  // of --nft, not of --probe
    observe::HookChoice choice;
    EXPECT_TRUE(observe::add_probe(choice, word)) << word;
  }
}

TEST(EventsDocs, TheIndexNamesEachPage) {
  std::ifstream file(kFolder / "README.md");
  std::ostringstream index;
  index << file.rdbuf();
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = entry.path().filename();
    if (name == "README.md") continue;
    EXPECT_TRUE(index.str().contains("](" + name + ")")) << name;
  }
}

}  // namespace
}  // namespace weir
