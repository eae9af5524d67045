// The picture of the paths: an icicle, drawn here so that it is there without scripts; the script only rearranges it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "base/units.h"
#include "cli/render_paths.h"
#include "cli/render_trace.h"

namespace weir::cli {

namespace {

constexpr double kPageWidth = 1200;
constexpr unsigned kRowHeight = 22;
constexpr double kLetterWidth = 6.7;  // of the widest common monospace font at 11 px
constexpr double kLabelMargin = 8;

struct Span {
  double x = 0;
  double width = 0;
};

struct Box {
  std::size_t depth = 0;
  Span packets;
  Span time;
};

std::string escaped(std::string_view raw) {
  std::string text;
  for (const char letter : printable(raw)) {
    switch (letter) {
      case '&':
        text += "&amp;";
        break;
      case '<':
        text += "&lt;";
        break;
      case '>':
        text += "&gt;";
        break;
      case '"':
        text += "&quot;";
        break;
      case '\'':
        text += "&#39;";
        break;
      default:
        text += letter;
    }
  }
  return text;
}

/// Lays the stops out below each other; a stop's followers share its width by their weights.
class Icicle {
 public:
  explicit Icicle(const model::PathTree& tree) : tree_(tree), boxes_(tree.stops.size()), time_(tree.stops.size()) {
    // A stop stands behind the one before it, so sums are complete when they are passed on.
    for (std::size_t at = tree.stops.size(); at-- > 0;) {
      time_[at] += static_cast<double>(tree.stops[at].time.sum_ns());
      if (tree.stops[at].before) time_[*tree.stops[at].before] += time_[at];
    }
    const Span whole{0, kPageWidth};
    place(tree.roots, whole, 0, &Box::packets, [&](std::size_t at) { return packets(at); });
    place(tree.roots, whole, 0, &Box::time, [&](std::size_t at) { return time_[at]; });
    for (std::size_t at = 0; at < tree.stops.size(); ++at) {
      const auto& after = tree.stops[at].after;
      if (tree.stops[at].before) boxes_[at].depth = boxes_[*tree.stops[at].before].depth + 1;
      depth_ = std::max(depth_, boxes_[at].depth + 1);
      place(after, boxes_[at].packets, packets(at), &Box::packets, [&](std::size_t one) { return packets(one); });
      place(after, boxes_[at].time, time_[at], &Box::time, [&](std::size_t one) { return time_[one]; });
    }
  }
  [[nodiscard]] const Box& box(std::size_t at) const { return boxes_[at]; }
  [[nodiscard]] std::size_t depth() const { return depth_; }

 private:
  [[nodiscard]] double packets(std::size_t at) const { return static_cast<double>(tree_.stops[at].packets); }

  template <class Weight>
  void place(const std::vector<std::size_t>& stops, Span within, double least_sum, Span Box::*span, Weight weight) {
    double sum = 0;
    for (const std::size_t at : stops) sum += weight(at);
    sum = std::max(sum, least_sum);
    double x = within.x;
    for (const std::size_t at : stops) {
      const double width = sum > 0 ? within.width * weight(at) / sum : 0;
      boxes_[at].*span = {x, width};
      x += width;
    }
  }

  const model::PathTree& tree_;
  std::vector<Box> boxes_;
  std::vector<double> time_;  ///< of the stop and all behind it
  std::size_t depth_ = 0;
};

/// Far apart for namespaces that come after each other, and none of the red that drops have: steps of the golden ratio
/// through the other hues.
std::string color_of(std::size_t number) {
  constexpr double kGolden = 0.61803398875;
  const double turn = std::fmod(0.45 + static_cast<double>(number) * kGolden, 1.0);
  return fmt::format("hsl({:.0f} 55% 76%)", 30 + turn * 300);
}

std::string shortened(const std::string& label, double width) {
  const auto letters = static_cast<std::size_t>(std::max(0.0, (width - kLabelMargin) / kLetterWidth));
  if (label.size() <= letters) return label;
  return letters < 4 ? std::string{} : label.substr(0, letters - 2) + "..";
}

std::string time_text(std::uint64_t ns) {
  return format_duration(std::chrono::nanoseconds(ns));
}

std::string about(const model::PathTree& tree, const model::PathStop& stop) {
  const double share =
      100.0 * static_cast<double>(stop.packets) / static_cast<double>(std::max<std::uint64_t>(tree.packets(), 1));
  std::string text =
      fmt::format("{}  {}\n{} packets ({:.1f} %)", model::to_string(stop.device), stop.hook, stop.packets, share);
  if (!stop.drop_reason.empty()) text += "\ndropped: " + stop.drop_reason;
  if (stop.part) text += "\nsegments or fragments of the packets above";
  if (stop.time.count() != 0) {
    text += fmt::format("\nsince the hook above: p50 {}, p90 {}, p99 {}, max {}, mean {}",
                        time_text(stop.time.quantile_ns(0.5)), time_text(stop.time.quantile_ns(0.9)),
                        time_text(stop.time.quantile_ns(0.99)), time_text(stop.time.max_ns()),
                        time_text(stop.time.mean_ns()));
  }
  if (stop.ended != 0) text += fmt::format("\n{} were freed here", stop.ended);
  if (stop.unseen != 0) text += fmt::format("\n{} were not seen after this", stop.unseen);
  return text;
}

/// Lines are kept, all else that could leave the attribute or steer a terminal is not.
std::string escaped_lines(const std::string& text) {
  std::string lines;
  for (const std::string_view line : split(text, '\n')) {
    if (!lines.empty()) lines += "&#10;";
    lines += escaped(line);
  }
  return lines;
}

std::string box_svg(const model::PathTree& tree, std::size_t at, const Box& box, const std::string& color) {
  const model::PathStop& stop = tree.stops[at];
  std::string label =
      fmt::format("{}  {}  {}", printable(short_hook(stop.hook)), model::to_string(stop.device), stop.packets);
  if (stop.time.count() != 0) {
    label +=
        fmt::format("  p50 {} p99 {}", time_text(stop.time.quantile_ns(0.5)), time_text(stop.time.quantile_ns(0.99)));
  }
  if (!stop.drop_reason.empty()) label = fmt::format("{} {}", printable(stop.drop_reason), label);
  const double width = std::max(box.packets.width, 0.4);
  return fmt::format(
      R"(<svg class="b{}" x="{:.2f}" y="{}" width="{:.2f}" height="{}" data-p="{:.2f} {:.2f}" data-t="{:.2f} {:.2f}" data-l="{}"><title>{}</title><rect width="100%" height="100%" fill="{}"/><text x="4" y="15">{}</text></svg>)"
      "\n",
      stop.drop_reason.empty() ? "" : " drop", box.packets.x, box.depth * kRowHeight, width, kRowHeight, box.packets.x,
      box.packets.width, box.time.x, box.time.width, escaped(label), escaped_lines(about(tree, stop)),
      stop.drop_reason.empty() ? color : "#c62828", escaped(shortened(label, width)));
}

constexpr std::string_view kHead = R"(<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>
body{font:14px system-ui,sans-serif;margin:16px;color:#222;background:#fff}
h1{font-size:18px;margin:0 0 4px}p{margin:4px 0}
#picture text{font:11px ui-monospace,"DejaVu Sans Mono",monospace;fill:#111;pointer-events:none}
#picture .drop text{fill:#fff}
#picture rect{stroke:#fff;stroke-width:1}#picture .b{cursor:pointer}#picture .b:hover rect{stroke:#000}
#about{white-space:pre-wrap;overflow-wrap:anywhere;min-height:6.5em;font:12px ui-monospace,monospace;margin-top:8px}
.key{display:inline-block;margin:2px 14px 2px 0;overflow-wrap:anywhere}
.key i{display:inline-block;width:12px;height:12px;margin-right:5px;border:1px solid #888}
button{font:inherit;margin-right:6px}button[aria-pressed=true]{font-weight:bold}
</style>
)";

constexpr std::string_view kScript = R"(<script>
const boxes=[...document.querySelectorAll('#picture .b')],full=1200;let mode='p',zoom=null;
const span=(b,m)=>b.dataset[m].split(' ').map(Number);
function draw(){
  const [zx,zw]=zoom?span(zoom,mode):[0,full],k=zw>0?full/zw:1;
  for(const b of boxes){
    let [x,w]=span(b,mode);x=(x-zx)*k;w*=k;
    const from=Math.max(x,0),to=Math.min(x+w,full);
    b.style.display=to-from>0.05||(x>=0&&x<full&&w>0)?'':'none';
    w=Math.max(to-from,0.4);b.setAttribute('x',from);b.setAttribute('width',w);
    const room=Math.floor((w-8)/6.7),l=b.dataset.l;
    b.querySelector('text').textContent=l.length<=room?l:room<4?'':l.slice(0,room-2)+'..';
  }
  for(const n of document.querySelectorAll('button[data-m]'))n.setAttribute('aria-pressed',n.dataset.m===mode);
  document.getElementById('all').disabled=!zoom;
}
for(const b of boxes){
  b.onclick=()=>{zoom=zoom===b?null:b;draw()};
  b.onmouseenter=()=>{document.getElementById('about').textContent=b.querySelector('title').textContent};
}
for(const n of document.querySelectorAll('button[data-m]'))n.onclick=()=>{mode=n.dataset.m;draw()};
document.getElementById('all').onclick=()=>{zoom=null;draw()};
draw();
</script>
)";

}  // namespace

std::string render_paths_page(const model::PathTree& tree, const std::string& title) {
  const Icicle icicle(tree);
  std::map<std::uint64_t, std::pair<std::string, std::string>> colors;  // by namespace: colour and name
  std::string svg;
  for (std::size_t at = 0; at < tree.stops.size(); ++at) {
    const model::NetnsRef& netns = tree.stops[at].device.netns;
    const auto found = colors.try_emplace(netns.id, color_of(colors.size()), netns.name).first;
    svg += box_svg(tree, at, icicle.box(at), found->second.first);
  }
  std::string keys;
  for (const auto& [id, key] : colors) {
    keys += fmt::format(R"(<span class="key"><i style="background:{}"></i>{}</span>)", key.first, escaped(key.second));
  }
  keys += R"(<span class="key"><i style="background:#c62828"></i>dropped</span>)";
  std::string page = fmt::format("<!doctype html>\n<html lang=\"en\">\n<title>{}</title>\n", escaped(title));
  page += kHead;
  page += fmt::format(
      "<h1>{}</h1>\n<p>{} packets on {} paths. Each box is a hook that packets came to by the way above "
      "it; quantiles are within {:.0f} %.</p>\n",
      escaped(title), tree.packets(), tree.paths.size(), DurationHistogram::kErrorPct);
  if (tree.lost_steps != 0 || tree.cut_stops != 0) {
    page += fmt::format(
        "<p>Not all is here: {} steps found no room to be counted, or their events were lost; {} stops behind them "
        "are left out.</p>\n",
        tree.lost_steps, tree.cut_stops);
  }
  page +=
      R"(<p><button data-m="p" aria-pressed="true">width: packets</button><button data-m="t">width: time</button><button id="all" disabled>show all</button></p>)";
  page += fmt::format("\n<p>{}</p>\n<svg id=\"picture\" width=\"100%\" viewBox=\"0 0 {:.0f} {}\" role=\"img\">\n", keys,
                      kPageWidth, std::max<std::size_t>(icicle.depth(), 1) * kRowHeight);
  page += svg;
  page += "</svg>\n<div id=\"about\"></div>\n";
  page += kScript;
  return page + "</html>\n";
}

}  // namespace weir::cli
