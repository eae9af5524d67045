// Root causes: readers, blame, the null, and real cases where they are at hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "export/explanation_picture.h"
#include "reason/explain/blame_flow.h"
#include "reason/explain/explanation_json.h"
#include "reason/explain/null_tail.h"
#include "reason/explain/petshop.h"
#include "reason/explain/random.h"
#include "reason/explain/without_graph.h"
#include "support/shared_data.h"
#include "support/synthetic_incidents.h"

namespace weir::explain {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

/// A folder that is gone with the test.
class Folder : public testing::Test {
 protected:
  Folder() : path_(fs::temp_directory_path() / ("weir-explain-" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() override { fs::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  fs::path path_;
};

class ExplainReaders : public Folder {};

TEST_F(ExplainReaders, WideTablesSplitTheirHeadingsByTheGraph) {
  const Graph graph{.entities = {"a:b", "a", "with, comma"}, .edges = {}};
  const auto table = read_table(write("t.csv", "time,a:b:latency/p99,\"with, comma:cpu\"\n2,1.5,\n1,NaN,7\n"), &graph);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_THAT(table->times_s, ElementsAre(1, 2));
  ASSERT_EQ(table->columns.size(), 2U);
  EXPECT_EQ(table->columns[0].entity, "a:b");
  EXPECT_EQ(table->columns[0].metric, "latency");
  EXPECT_EQ(table->columns[0].statistic, "p99");
  EXPECT_TRUE(std::isnan(table->columns[0].values[0]));
  EXPECT_FLOAT_EQ(table->columns[0].values[1], 1.5F);
  EXPECT_EQ(table->columns[1].entity, "with, comma");
  EXPECT_FLOAT_EQ(table->columns[1].values[0], 7);
}

TEST_F(ExplainReaders, ThreeLinesOfHeadingAreEntityMetricAndStatistic) {
  const auto table = read_table(write("t.csv",
                                      "\xEF\xBB\xBFmicroservice,x,x\r\nmetric,latency,requests\r\n"
                                      "statistic,Average,Sum\r\nunix_timestamp,,\r\n10,1,2\r\n20,,4\r\n"));
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_THAT(table->times_s, ElementsAre(10, 20));
  ASSERT_EQ(table->columns.size(), 2U);
  EXPECT_EQ(table->columns[1].entity, "x");
  EXPECT_EQ(table->columns[1].metric, "requests");
  EXPECT_EQ(table->columns[1].statistic, "Sum");
}

TEST_F(ExplainReaders, LongTablesMayHaveGaps) {
  const auto table = read_table(write("t.csv", "timestamp,service,metric,value\n1,a,cpu,5\n2,b,cpu,6\n2,a,cpu,7\n"));
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_THAT(table->times_s, ElementsAre(1, 2));
  ASSERT_EQ(table->columns.size(), 2U);
  EXPECT_THAT(table->columns[0].values, ElementsAre(5, 7));
  EXPECT_TRUE(std::isnan(table->columns[1].values[0]));
}

TEST_F(ExplainReaders, WrongTablesAreRefusedWithFileAndLine) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "empty"},
      {"time,a:b\n", "no rows"},
      {"time,a:b\n1,2,3\n", ":2: 3 cells"},
      {"time,a:b\n1,2\nx,2\n", ":3: 'x' is not a time"},
      {"time,a:b\n1,2\n2,oops\n", ":3: 'oops' is not a number"},
      {"time,a:b\n1,\"2\n", "never closed"},
  };
  for (const auto& [text, words] : wrong) {
    const auto table = read_table(write("t.csv", text));
    ASSERT_FALSE(table) << text;
    EXPECT_EQ(table.error().code, Errc::usage);
    EXPECT_THAT(table.error().message, HasSubstr(words)) << text;
  }
}

TEST_F(ExplainReaders, GraphsComeAsJsonMatrixOrList) {
  const std::vector<std::string> same{
      write("a.json", R"({"nodes":["a","b",{"name":"c"}],"edges":[{"from":"a","to":"b"},["b","c"]]})"),
      write("b.csv", ",a,b,c\na,,1,0\nb,0,0,1\nc,,,\n"),
      write("c.csv", "from,to\na,b\nb,c\nb,c\n"),
  };
  for (const std::string& path : same) {
    const auto graph = read_graph(path);
    ASSERT_TRUE(graph) << path << ": " << graph.error().message;
    EXPECT_THAT(graph->entities, ElementsAre("a", "b", "c")) << path;
    EXPECT_THAT(graph->edges, ElementsAre(Edge{0, 1}, Edge{1, 2})) << path;
  }
  EXPECT_FALSE(read_graph(write("d.json", "{\"nodes\":")));
  EXPECT_FALSE(read_graph(write("e.json", R"({"edges":[1]})")));
}

TEST(BlameFlow, AddsUpToOneOnAnyGraph) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    const std::uint32_t size = 2 + random.below(20);
    Shares shares(size);
    for (std::uint32_t from = 0; from < size; ++from) {
      for (std::uint32_t k = random.below(4); k > 0; --k) {
        shares[from].push_back({random.below(size), random.uniform(), random.uniform() < 0.2});
      }
    }
    const Blame blame = follow_blame(shares, 0);
    EXPECT_NEAR(std::accumulate(blame.kept.begin(), blame.kept.end(), 0.0), 1, 1e-9) << "seed " << seed;
    for (const double kept : blame.kept) EXPECT_GE(kept, -1e-12);
  }
}

TEST(BlameFlow, DoesNotGoStraightBack) {
  // 0 <-> 1 <-> 2, as a graph whose edges have no direction says.
  const Shares shares{{{1, 1.0}}, {{0, 1.0}, {2, 1.0}}, {{1, 1.0}}};
  const Blame blame = follow_blame(shares, 0);
  EXPECT_GT(blame.kept[2], 0.95);
}

TEST(NullTail, IsLargeForWhatIsUsualAndFallsBeyond) {
  Random random(3);
  std::vector<double> scores;
  for (int i = 0; i < 500; ++i) scores.push_back(std::abs(random.normal()));
  scores.push_back(80);  // an incident in the past
  const NullTail tail(scores);
  EXPECT_GE(tail.p_value(0.5), 0.2);
  EXPECT_LT(tail.p_value(5), 0.01);
  EXPECT_LT(tail.p_value(8), tail.p_value(5));
}

/// A service asks two others; one gets slow. 100 requests a row.
struct Shop {
  Graph graph{.entities = {"front", "slow", "quick"}, .edges = {{0, 1}, {0, 2}}};
  Table healthy = make(0, 200, 1000);
  Table window = make(200, 212, 204);

  static Table make(std::size_t first, std::size_t last, std::size_t onset) {
    Table table;
    Random random(first + 1);
    table.columns = {{"front", "latency", "", {}}, {"slow", "latency", "", {}}, {"quick", "latency", "", {}}};
    for (const char* entity : {"front", "slow", "quick"}) table.columns.push_back({entity, "requests", "", {}});
    for (std::size_t row = first; row < last; ++row) {
      table.times_s.push_back(static_cast<double>(row) * 60);
      const double slow = 0.1 + 0.002 * random.normal() + (row >= onset ? 0.2 : 0);
      const double quick = 0.05 + 0.001 * random.normal();
      const double front = 0.02 + slow + quick + 0.002 * random.normal();
      const std::vector<double> values{front, slow, quick, 100, 100, 100};
      for (std::size_t i = 0; i < values.size(); ++i) table.columns[i].values.push_back(static_cast<float>(values[i]));
    }
    return table;
  }
};

TEST(Explain, FindsTheSlowOneAndItsBooksAddUp) {
  const Shop shop;
  const auto past = Past::learn(shop.graph, shop.healthy);
  ASSERT_TRUE(past);
  Options options;
  options.changes = {{203.5 * 60, "slow", "max_connections 100 -> 10"}, {10 * 60, "slow", "long ago"}};
  const auto explanation = explain(*past, shop.window, {"front", "latency", 204 * 60.0}, options);
  ASSERT_TRUE(explanation) << explanation.error().message;
  ASSERT_FALSE(explanation->causes.empty());
  const Cause& first = explanation->causes.front();
  EXPECT_EQ(first.entity, "slow");
  EXPECT_EQ(first.metric, "latency");
  EXPECT_GT(first.blame, 0.9);
  EXPECT_LT(first.p_value, 0.05);
  EXPECT_NEAR(first.observed, 0.3, 0.02);
  EXPECT_NEAR(first.expected, 0.1, 0.01);
  EXPECT_NEAR(first.symptom_without, explanation->expected, 0.03);
  EXPECT_THAT(first.changes, ElementsAre("max_connections 100 -> 10"));
  EXPECT_EQ(explanation->since_s, 204 * 60.0);
  double sum = explanation->unexplained;
  for (const Cause& cause : explanation->causes) sum += cause.blame;
  EXPECT_NEAR(sum, 1, 1e-9);
  ASSERT_FALSE(explanation->edges.empty());
  EXPECT_EQ(explanation->edges.front().to, "slow");
  // 8 rows of 100 requests that take 0.2 s longer.
  EXPECT_NEAR(explanation->edges.front().amount, 160, 10);
  EXPECT_EQ(explanation->edges.front().unit, "request-seconds");
}

TEST(Explain, SaysThatNothingIsWrongWhenNothingIs) {
  const Shop shop;
  const auto past = Past::learn(shop.graph, shop.healthy);
  ASSERT_TRUE(past);
  const auto explanation = explain(*past, Shop::make(300, 312, 1000), {"front", "latency", {}});
  ASSERT_TRUE(explanation);
  EXPECT_TRUE(explanation->causes.empty());
  EXPECT_EQ(explanation->unexplained, 1);
  EXPECT_FALSE(explanation->notes.empty());
}

TEST(Explain, RefusesWhatIsNotThereWithTheNearestNames) {
  const Shop shop;
  const auto past = Past::learn(shop.graph, shop.healthy);
  ASSERT_TRUE(past);
  const auto entity = explain(*past, shop.window, {"fornt", "latency", {}});
  ASSERT_FALSE(entity);
  EXPECT_EQ(entity.error().code, Errc::usage);
  EXPECT_THAT(entity.error().hint, HasSubstr("front"));
  const auto metric = explain(*past, shop.window, {"front", "latencies", {}});
  ASSERT_FALSE(metric);
  EXPECT_THAT(metric.error().hint, HasSubstr("latency"));
  EXPECT_FALSE(explain(*past, Table{}, {"front", "latency", {}}));
  EXPECT_FALSE(Past::learn({.entities = {"x"}, .edges = {}}, shop.healthy));
  EXPECT_FALSE(Past::learn(shop.graph, Table{}));
}

TEST(Explain, WritesJsonAndPicturesThatHoldAnyName) {
  Shop shop;
  const std::string odd = "sl\"ow<&>\n";
  shop.graph.entities[1] = odd;
  for (Table* table : {&shop.healthy, &shop.window}) {
    for (Column& column : table->columns) {
      if (column.entity == "slow") column.entity = odd;
    }
  }
  const auto past = Past::learn(shop.graph, shop.healthy);
  ASSERT_TRUE(past);
  const auto explanation = explain(*past, shop.window, {"front", "latency", 204 * 60.0});
  ASSERT_TRUE(explanation);
  const auto document = to_json(*explanation);
  EXPECT_EQ(document["schema"], "weir.explanation/1");
  EXPECT_EQ(document["causes"][0]["entity"], odd);
  EXPECT_EQ(document["causes"][0]["rank"], 1);
  EXPECT_TRUE(document["graph"]["edges"].is_array());
  const std::string svg = exporter::explanation_svg(*explanation);
  EXPECT_THAT(svg, HasSubstr("sl&quot;ow&lt;&amp;&gt;"));
  EXPECT_THAT(svg, testing::Not(HasSubstr("http://www.w3.org/1999/xlink")));
  EXPECT_THAT(exporter::explanation_dot(*explanation), HasSubstr("sl\\\"ow<&>"));
}

class ExplainFolders : public Folder {};

TEST_F(ExplainFolders, RanksServicesAndMetricsWithoutAGraph) {
  std::string text = "time,front_latency-50,front_cpu,cart_cpu,cart_latency-50,db_mem\n";
  Random random(5);
  for (int row = 0; row < 120; ++row) {
    const bool out = row >= 80;
    text += std::to_string(1000 + row) + "," + std::to_string(0.2 + 0.01 * random.normal() + (out ? 0.3 : 0)) + "," +
            std::to_string(20 + random.normal()) + "," + std::to_string(30 + random.normal() + (out ? 50 : 0)) + "," +
            std::to_string(0.1 + 0.01 * random.normal() + (out ? 0.3 : 0)) + "," +
            std::to_string(500 + 5 * random.normal()) + "\n";
  }
  write("cart_cpu/1/data.csv", text);
  write("cart_cpu/1/inject_time.txt", "1080\n");
  std::vector<ExplainedCase> cases;
  const auto done = explain_rcaeval(path_.string(), [&](const ExplainedCase& one) { cases.push_back(one); });
  ASSERT_TRUE(done) << done.error().message;
  ASSERT_EQ(cases.size(), 1U);
  EXPECT_EQ(cases[0].truth, "cart");
  ASSERT_FALSE(cases[0].causes.empty());
  EXPECT_EQ(cases[0].causes[0], "cart");
  ASSERT_FALSE(cases[0].metrics.empty());
  EXPECT_EQ(cases[0].metrics[0], "cart:cpu");
  EXPECT_LT(cases[0].p_value, 0.05);
  EXPECT_FALSE(explain_rcaeval((path_ / "cart_cpu" / "none").string(), [](const ExplainedCase&) {}));
}

/// PetShop's training cases under a change of the graph; share of cases whose root is ranked first.
double recall_at_1(const fs::path& folder, const std::function<void(Graph&)>& change) {
  std::size_t cases = 0;
  std::size_t right = 0;
  for (const char* scenario : {"low_traffic", "high_traffic"}) {
    auto graph = read_graph((folder / scenario / "graph.csv").string());
    const auto healthy = read_table((folder / scenario / "noissue/metrics.csv").string(), &*graph);
    change(*graph);
    const auto past = Past::learn(*graph, *healthy);
    for (const auto& entry : fs::directory_iterator(folder / scenario / "train")) {
      const auto target = nlohmann::json::parse(std::ifstream(entry.path() / "target.json"));
      const auto window = read_table((entry.path() / "metrics.csv").string(), &*graph);
      const auto explanation =
          explain(*past, *window,
                  {target["target"]["node"], target["target"]["metric"], target["target"]["timestamp"].get<double>()});
      ++cases;
      right +=
          explanation && !explanation->causes.empty() && explanation->causes[0].entity == target["root_cause"]["node"]
              ? 1
              : 0;
    }
  }
  return static_cast<double>(right) / static_cast<double>(cases);
}

TEST(PetShop, EveryTrainingCaseIsRightAndHealthyWindowsAreSilent) {
  const auto folder = test::shared_data("petshop");
  if (!folder) GTEST_SKIP() << "shared/data/petshop is not here";
  std::map<std::string, std::pair<int, int>> recall;
  std::map<std::string, std::pair<int, int>> silence;
  const auto done = explain_petshop(folder->string(), {}, [&](const ExplainedCase& one) {
    auto& tally = one.truth ? recall[one.scenario] : silence[one.scenario + one.symptom];
    ++tally.second;
    tally.first += one.truth ? !one.causes.empty() && one.causes[0] == *one.truth : one.causes.empty();
  });
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(recall.size(), 4U);
  for (const auto& [scenario, tally] : recall) EXPECT_EQ(tally.first, tally.second) << scenario;
  EXPECT_EQ(silence.size(), 4U);
  for (const auto& [scenario, tally] : silence) EXPECT_GE(tally.first, 0.98 * tally.second) << scenario;
}

TEST(PetShop, EdgesWithoutDirectionOrMissingDoLittleHarm) {
  const auto folder = test::shared_data("petshop");
  if (!folder) GTEST_SKIP() << "shared/data/petshop is not here";
  EXPECT_GE(recall_at_1(*folder,
                        [](Graph& graph) {
                          const auto edges = graph.edges;
                          for (const Edge& edge : edges) graph.edges.push_back({edge.to, edge.from});
                        }),
            0.85);
  double sum = 0;
  constexpr int rounds = 5;
  for (int seed = 1; seed <= rounds; ++seed) {
    Random random(static_cast<std::uint64_t>(seed));
    sum += recall_at_1(*folder, [&](Graph& graph) {
      std::erase_if(graph.edges, [&](const Edge&) { return random.uniform() < 0.1; });
    });
  }
  EXPECT_GE(sum / rounds, 0.85);
}

}  // namespace
}  // namespace weir::explain
