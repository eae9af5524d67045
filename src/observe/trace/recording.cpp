#include "observe/trace/recording.h"

#include <fmt/format.h>

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "model/trace_json.h"
#include "observe/trace/nft/stored.h"
#include "observe/trace/record/reader.h"

namespace weir::observe {

namespace {

/// Types of the records in a file. New ones may be added; readers pass over those that they do not know.
enum class RecordType : std::uint16_t {
  info = 1,
  event = 2,
  device = 3,
  symbol = 4,
  reason = 5,
  summary = 6,
  workload = 7,
  rule = 8
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::uint16_t number_of(RecordType type) {
  return static_cast<std::uint16_t>(type);
}

nlohmann::ordered_json info_json(const RecordingInfo& info) {
  nlohmann::ordered_json document{{"records", WEIR_TRACE_RECORDS},
                                  {"host", info.host},
                                  {"kernel", info.kernel},
                                  {"filter", info.filter},
                                  {"wall_clock_offset_ns", info.wall_clock_offset.count()}};
  for (const auto& [number, name] : info.hooks) document["hooks"][std::to_string(number)] = name;
  return document;
}

std::string dump(const nlohmann::ordered_json& document) {
  return document.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

/// How often, by the times of events, the owner of a cgroup and namespace is asked for again.
constexpr std::uint64_t kAskOwnerAgainNs = 100'000'000;

}  // namespace

Result<TraceRecorder> TraceRecorder::create(const std::string& path, const RecordingOptions& options,
                                            const RecordingInfo& info, const TraceNames& names) {
  auto writer = RecordingWriter::create(path, options);
  if (!writer) return pass(std::move(writer));
  auto written = writer->set_preamble(number_of(RecordType::info), bytes_of(dump(info_json(info))));
  if (!written) return pass(std::move(written));
  return TraceRecorder(*std::move(writer), names);
}

Result<void> TraceRecorder::name_device(std::uint64_t netns, std::uint32_t ifindex) {
  if (!devices_.insert({netns, ifindex}).second) return {};
  const model::DeviceRef device = names_->device(netns, ifindex);
  const nlohmann::ordered_json row{
      {"netns", netns}, {"netns_name", device.netns.name}, {"ifindex", ifindex}, {"name", device.name}};
  return writer_.set_preamble(number_of(RecordType::device), bytes_of(dump(row)), devices_.size());
}

Result<void> TraceRecorder::name_symbol(std::uint64_t address) {
  if (!symbols_.insert(address).second) return {};
  const nlohmann::ordered_json row{{"address", address}, {"name", names_->symbol(address)}};
  return writer_.set_preamble(number_of(RecordType::symbol), bytes_of(dump(row)), address);
}

Result<void> TraceRecorder::name_reason(std::uint32_t number) {
  if (!reasons_.insert(number).second) return {};
  const nlohmann::ordered_json row{{"number", number}, {"name", names_->drop_reason(number)}};
  return writer_.set_preamble(number_of(RecordType::reason), bytes_of(dump(row)), number);
}

Result<void> TraceRecorder::name_workload(const weir_trace_event& head) {
  if (!names_->workload) return {};
  const auto [place, fresh] = owners_.try_emplace({head.cgroup, head.netns});
  WrittenOwner& owner = place->second;
  if (!fresh && head.time_ns < owner.ask_again_ns) return {};
  if (fresh) owner.key = owners_.size();
  owner.ask_again_ns = head.time_ns + kAskOwnerAgainNs;
  const model::WorkloadRef* workload = names_->workload(head.cgroup, head.netns);
  if (workload == nullptr || *workload == owner.workload) return {};
  owner.workload = *workload;
  const nlohmann::ordered_json row{{"cgroup", head.cgroup},       {"netns", head.netns}, {"kind", workload->kind},
                                   {"name", workload->name},      {"id", workload->id},  {"pod", workload->pod},
                                   {"runtime", workload->runtime}};
  return writer_.set_preamble(number_of(RecordType::workload), bytes_of(dump(row)), owner.key);
}

Result<void> TraceRecorder::add(std::span<const std::byte> record) {
  const auto head = record_head(record);
  if (!head) return std::unexpected(head.error());
  if (auto named = name_device(head->netns, head->ifindex); !named) return named;
  if (auto named = name_workload(*head); !named) return named;
  if (head->hook == WEIR_HOOK_kfree_skb) {
    if (auto named = name_symbol(head->argument); !named) return named;
    if (auto named = name_reason(static_cast<std::uint32_t>(head->result)); !named) return named;
  }
  if ((head->sections & WEIR_SECTION_STACK) != 0) {
    weir_trace_stack stack;
    std::memcpy(&stack, record.data() + record.size() - sizeof stack, sizeof stack);
    for (std::uint32_t index = 0; index < std::min<std::uint32_t>(stack.count, WEIR_TRACE_STACK); ++index) {
      if (auto named = name_symbol(stack.address[index]); !named) return named;
    }
  }
  return writer_.append(number_of(RecordType::event), record);
}

Result<void> TraceRecorder::add_rule(std::uint64_t netns, const NftTraceMessage& message) {
  return writer_.append(number_of(RecordType::rule), store_nft_trace(netns, message));
}

Result<void> TraceRecorder::close(const model::TraceSummary& summary) {
  nlohmann::ordered_json document{{"duration_ns", summary.duration_ns}};
  for (const auto& [name, account] : summary.hooks) document["hooks"][name] = model::to_json(account);
  document["notes"] = summary.notes;
  if (auto written = writer_.append(number_of(RecordType::summary), bytes_of(dump(document))); !written) return written;
  return writer_.close();
}

struct TraceReplay::State {
  std::vector<std::string> files;
  std::size_t next_file = 0;
  std::optional<RecordingReader> reader;
  std::vector<std::byte> waiting;  ///< a record that open() came upon while it looked for the info
  RecordingInfo info;
  bool has_info = false;
  std::map<std::pair<std::uint64_t, std::uint32_t>, model::DeviceRef> devices;
  std::map<std::uint64_t, std::string> symbols;
  std::map<std::uint32_t, std::string> reasons;
  std::map<std::pair<std::uint64_t, std::uint64_t>, model::WorkloadRef> workloads;
  TraceNames names;
  RulesHeard rules;
  std::optional<model::TraceSummary> summary;
  std::vector<std::string> damages;

  Result<void> take_names(RecordType type, std::span<const std::byte> bytes);
  void take_info(const nlohmann::json& document);
  void take_summary(const nlohmann::json& document);
  Result<std::optional<Record>> next();
};

void TraceReplay::State::take_info(const nlohmann::json& document) {
  info.host = document.value("host", "");
  info.kernel = document.value("kernel", "");
  info.filter = document.value("filter", "");
  info.wall_clock_offset = std::chrono::nanoseconds(document.value("wall_clock_offset_ns", std::int64_t{0}));
  if (document.contains("hooks") && document["hooks"].is_object()) {
    for (const auto& [number, name] : document["hooks"].items()) {
      if (name.is_string()) info.hooks[static_cast<std::uint16_t>(std::atoi(number.c_str()))] = name.get<std::string>();
    }
  }
  names.hooks = info.hooks;
  has_info = true;
}

void TraceReplay::State::take_summary(const nlohmann::json& document) {
  model::TraceSummary books;
  books.duration_ns = document.value("duration_ns", std::uint64_t{0});
  if (document.contains("hooks") && document["hooks"].is_object()) {
    for (const auto& [name, account] : document["hooks"].items()) {
      if (!account.is_object()) continue;
      books.hooks[name] = {.seen = account.value("seen", std::uint64_t{0}),
                           .emitted = account.value("emitted", std::uint64_t{0}),
                           .filtered = account.value("filtered", std::uint64_t{0}),
                           .sampled_out = account.value("sampled_out", std::uint64_t{0}),
                           .lost = account.value("lost", std::uint64_t{0}),
                           .missed = account.value("missed", std::uint64_t{0})};
    }
  }
  if (document.contains("notes") && document["notes"].is_array()) {
    for (const auto& note : document["notes"]) {
      if (note.is_string()) books.notes.push_back(note.get<std::string>());
    }
  }
  summary = std::move(books);
}

Result<void> TraceReplay::State::take_names(RecordType type, std::span<const std::byte> bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  const auto document = nlohmann::json::parse(text, text + bytes.size(), nullptr, false);
  // A record whose checksum holds and that still is no such document was not written by a Weir.
  if (!document.is_object()) return fail(Errc::failed, files[next_file - 1] + ": a record of names is broken");
  try {
    switch (type) {
      case RecordType::info:
        if (document.value("records", 0) != WEIR_TRACE_RECORDS) {
          return fail(Errc::failed,
                      fmt::format("{}: records of version {}, this Weir reads {}", files[next_file - 1],
                                  document.value("records", 0), WEIR_TRACE_RECORDS),
                      "a newer Weir reads it");
        }
        take_info(document);
        break;
      case RecordType::device: {
        const auto netns = document.value("netns", std::uint64_t{0});
        const auto ifindex = document.value("ifindex", std::uint32_t{0});
        devices[{netns, ifindex}] = {
            {netns, document.value("netns_name", "")}, IfIndex{ifindex}, document.value("name", "")};
        break;
      }
      case RecordType::symbol:
        symbols[document.value("address", std::uint64_t{0})] = document.value("name", "");
        break;
      case RecordType::reason:
        reasons[document.value("number", std::uint32_t{0})] = document.value("name", "");
        break;
      case RecordType::workload:
        workloads[{document.value("cgroup", std::uint64_t{0}), document.value("netns", std::uint64_t{0})}] = {
            document.value("kind", ""), document.value("name", ""), document.value("id", ""), document.value("pod", ""),
            document.value("runtime", "")};
        break;
      case RecordType::summary:
        take_summary(document);
        break;
      case RecordType::event:
      case RecordType::rule:
        break;
    }
  } catch (const nlohmann::json::type_error&) {
    return fail(Errc::failed, files[next_file - 1] + ": a record of names is broken");
  }
  return {};
}

/// The next record of whatever file, names taken in.
Result<std::optional<Record>> TraceReplay::State::next() {
  while (true) {
    if (!reader) {
      if (next_file == files.size()) return std::optional<Record>{};
      auto opened = RecordingReader::open(files[next_file++]);
      if (!opened) return pass(std::move(opened));
      reader.emplace(*std::move(opened));
    }
    auto record = reader->next();
    if (!record) return record;
    if (!*record) {
      if (std::string broken = reader->where_it_broke(); !broken.empty()) damages.push_back(std::move(broken));
      reader.reset();
      continue;
    }
    const auto type = static_cast<RecordType>((*record)->type);
    if (type == RecordType::event) return record;
    if (type == RecordType::rule) {
      auto heard = read_stored_nft_trace((*record)->bytes);
      if (!heard) return pass(std::move(heard), files[next_file - 1]);
      rules.add(heard->netns, std::move(heard->message));
      continue;
    }
    if (type < RecordType::info || type > RecordType::rule) continue;  // of a later Weir
    if (auto taken = take_names(type, (*record)->bytes); !taken) return pass(std::move(taken));
  }
}

TraceReplay::TraceReplay(std::unique_ptr<State> state) : state_(std::move(state)) {}
TraceReplay::TraceReplay(TraceReplay&&) noexcept = default;
TraceReplay& TraceReplay::operator=(TraceReplay&&) noexcept = default;
TraceReplay::~TraceReplay() = default;

Result<TraceReplay> TraceReplay::open(const std::string& path) {
  auto files = recording_files(path);
  if (!files) return pass(std::move(files));
  auto state = std::make_unique<State>();
  state->files = *std::move(files);
  State* raw = state.get();
  raw->names.device = [raw](std::uint64_t netns, std::uint32_t ifindex) {
    const auto found = raw->devices.find({netns, ifindex});
    if (found != raw->devices.end()) return found->second;
    return model::DeviceRef{{netns, fmt::format("id:{}", netns)}, IfIndex{ifindex}, fmt::format("if{}", ifindex)};
  };
  raw->names.symbol = [raw](std::uint64_t address) {
    const auto found = raw->symbols.find(address);
    return found == raw->symbols.end() ? fmt::format("{:#x}", address) : found->second;
  };
  raw->names.drop_reason = [raw](std::uint32_t number) {
    const auto found = raw->reasons.find(number);
    return found == raw->reasons.end() ? fmt::format("#{}", number) : found->second;
  };
  raw->names.workload = [raw](std::uint64_t cgroup, std::uint64_t netns) {
    const auto found = raw->workloads.find({cgroup, netns});
    return found == raw->workloads.end() ? nullptr : &found->second;
  };
  auto first = raw->next();
  if (!first) return pass(std::move(first));
  if (*first) raw->waiting.assign((*first)->bytes.begin(), (*first)->bytes.end());
  if (!raw->has_info && *first) {
    raw->damages.push_back(path + ": what the recording says of itself is damaged; hooks have no names");
  }
  return TraceReplay(std::move(state));
}

const RecordingInfo& TraceReplay::info() const {
  return state_->info;
}
const TraceNames& TraceReplay::names() const {
  return state_->names;
}

Result<void> TraceReplay::read(const std::function<bool(std::span<const std::byte>)>& visit) {
  if (!state_->waiting.empty()) {
    const std::vector<std::byte> first = std::exchange(state_->waiting, {});
    if (!visit(first)) return {};
  }
  while (true) {
    auto record = state_->next();
    if (!record) return pass(std::move(record));
    if (!*record || !visit((*record)->bytes)) return {};
  }
}

RulesHeard& TraceReplay::rules() {
  return state_->rules;
}
const std::optional<model::TraceSummary>& TraceReplay::summary() const {
  return state_->summary;
}
const std::vector<std::string>& TraceReplay::damages() const {
  return state_->damages;
}

}  // namespace weir::observe
