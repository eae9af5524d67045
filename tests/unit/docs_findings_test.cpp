// Whatever the doctor can say has its page, its section and its place in the index.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "model/finding.h"
#include "reason/doctor/doctor.h"

namespace weir {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(FindingsDocs, EachFindingHasAPageAndEachCauseASection) {
  for (const reason::Symptom& symptom : reason::symptoms()) {
    model::Finding finding;
    finding.id = symptom.id;
    const std::string page = read(finding.docs());
    EXPECT_TRUE(page.starts_with("# " + symptom.id + "\n")) << finding.docs();
    EXPECT_FALSE(symptom.causes.empty());
    for (const std::string& cause : symptom.causes) {
      EXPECT_NE(page.find("\n### " + cause + "\n"), std::string::npos) << finding.docs() << " lacks " << cause;
    }
  }
}

TEST(FindingsDocs, TheIndexNamesEachPageOnce) {
  const std::string index = read("docs/findings/README.md");
  std::size_t pages = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/docs/findings")) {
    const std::string name = entry.path().filename();
    if (name == "README.md") continue;
    ++pages;
    EXPECT_NE(index.find("](" + name + ")"), std::string::npos) << name;
  }
  EXPECT_EQ(pages, reason::symptoms().size()) << "a page without a finding";
}

// The deciders name causes as plain words in the code: every such word must be one that symptoms() lists.
TEST(FindingsDocs, TheCodeNamesNoOtherCause) {
  std::set<std::string> known;
  for (const reason::Symptom& symptom : reason::symptoms()) known.insert(symptom.causes.begin(), symptom.causes.end());
  std::size_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/src/reason/doctor")) {
    const std::string path = "src/reason/doctor/" + entry.path().filename().string();
    if (entry.path().extension() != ".cpp") continue;
    const std::string code = read(path);
    for (const char* opening : {".name = \"", "cause.name = \"", "finding.cause = \""}) {
      const std::string mark = opening;
      for (std::size_t at = code.find(mark); at != std::string::npos; at = code.find(mark, at + 1)) {
        const std::size_t start = at + mark.size();
        const std::string cause = code.substr(start, code.find('"', start) - start);
        EXPECT_TRUE(known.contains(cause)) << path << ": " << cause;
        ++found;
      }
    }
  }
  EXPECT_GE(found, known.size());
}

}  // namespace
}  // namespace weir
