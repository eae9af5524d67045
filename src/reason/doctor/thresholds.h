// Every number that turns measurements into verdicts, with its reason. Nothing else in reason/doctor holds one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weir::reason::thresholds {

/// Effective queues over queues in use below which the spread counts as skewed. Healthy devices with hundreds of flows
/// measure 0.92 to 0.98; the mildest known fault (four-queue veth into a four-queue NIC, 50/25/25/0) measures 0.67.
inline constexpr double kSkewRatio = 0.8;

/// The same for a collapse: half of the queues' worth of parallelism is gone. One queue of two measures exactly 0.5 and
/// is a collapse, so the comparison allows for rounding (kRatioSlack).
inline constexpr double kCollapseRatio = 0.5;
inline constexpr double kRatioSlack = 0.02;

/// The same for following the packets' path while still watching: halfway between skew and the least even healthy
/// spread measured (0.92), so that no finding goes without its place of change and few healthy devices cost anything.
inline constexpr double kFollowRatio = 0.86;

/// Windows in a row that must agree. One window catches a burst; three make a state.
inline constexpr std::size_t kWindows = 3;

/// Packets a window needs: fewer and the shares themselves are noise. Per queue, because counting noise adds
/// N/packets to N/N_eff: 16 packets a queue keep that below 0.07, far from the 0.25 of the skew threshold.
inline constexpr std::uint64_t kMinWindowPackets = 500;
inline constexpr std::uint64_t kMinWindowPacketsPerQueue = 16;

/// Packets a second a device must carry to be judged at all: below, no choice of queue can be felt.
inline constexpr double kMinRatePps = 200;

/// Below this rate a collapse is a fault but not yet why the host is slow: it is reported as a warning.
inline constexpr double kCriticalRatePps = 1000;

/// Examined packets needed, over the judged windows, before rules and flows are spoken of: at 100 a share is known to
/// within 0.1 (two standard errors).
inline constexpr std::uint64_t kMinSampled = 100;

/// Probability, given the flows that were seen, that hashing alone gives a spread as uneven as the observed one. Below
/// it, hashing is ruled out. The same flows stay on the same queues in all windows, so three windows earn no power; the
/// target of 1e-4 false verdicts a device and run is kept with two decades to spare for approximations.
inline constexpr double kChance = 1e-6;

/// Standard errors of the flows' own concentration (they are sampled) granted to hashing before kChance is asked.
inline constexpr double kFlowSamplingErrors = 3;

/// Draws that must all stay below the observed spread before hashing is ruled out, for up to so many flows. 10,000
/// draws see anything likelier than 3e-4 with 95 % certainty and take some 10 ms for 200 flows; with more flows the
/// analytic tail is close (spread_test compares the two).
inline constexpr std::size_t kMonteCarloDraws = 10'000;
inline constexpr std::size_t kMonteCarloFlows = 200;

/// One flow with more than half of the packets (by more than kFlowSamplingErrors, or two equal flows would qualify by
/// luck of sampling) decides where more than half of the load goes, whatever the hash does.
inline constexpr double kSingleFlowShare = 0.5;

/// Flow-shaped verdicts (single-flow, few-flows) are facts about the load, not faults: they are worth a line only where
/// one queue carries a real part of a real load. A quiet host with one ssh session, or a backup at midnight, is
/// healthy.
inline constexpr double kFlowVerdictQueuePps = 2000;
inline constexpr double kFlowVerdictQueueBps = 1e9;
inline constexpr double kFlowVerdictQueueShare = 0.25;

/// Rate at which a hardware NIC with one active queue is worth a warning: a tenth of kHeavyQueuePps, enough that a peak
/// of the same load will meet the limit of the one CPU that cleans its queue.
inline constexpr double kOneQueueRatePps = 10'000;

/// Load of one queue above which even a spread that follows from the flows is a warning: 100 kpps is a large part of
/// what one CPU forwards (about 1 Mpps at best), 4 Gbit/s is near the 5 Gbit/s that clouds grant one flow.
inline constexpr double kHeavyQueuePps = 100'000;
inline constexpr double kHeavyQueueBps = 4e9;

/// Share of the imbalance that a rule must account for to be its cause. Packets of other rules can sit on the same
/// queues because they share the flow hash (two-queue veth into four queues: half recorded, half hashed onto the same
/// side), so a cause may explain only half of it.
inline constexpr double kMinExplained = 0.25;

/// Part of the imbalance that a single origin must bring to be named a culprit.
inline constexpr double kMinCulpritPart = 0.1;

/// Share of packets on one queue that counts as "always the same queue" for a verdict by elimination.
inline constexpr double kConstantQueueShare = 0.9;

/// Effective number of CPUs below which "one CPU sends everything": 1.5 means some 80 % on the first.
inline constexpr double kOneCpuEffective = 1.5;

/// Share of packets in one traffic class above which its range of queues is the device, as far as these packets go.
inline constexpr double kTrafficClassShare = 0.8;

/// Share below which a queue is not "in use": stray packets (neighbour discovery, LLDP) leave by any queue.
inline constexpr double kQueueInUseShare = 0.001;

/// Share of packets from another device that makes that device's peer a hop on the way, not a stray.
inline constexpr double kTransitShare = 0.01;

/// Share of an interface's bytes that may lack a flow before it is worth a line: the goal that the account is built
/// for.
inline constexpr double kLedgerTolerance = 0.001;

/// Share of all bytes without room for their flow above which that distorts what is seen.
inline constexpr double kOverflowWarning = 0.01;

/// Highest confidence ever claimed: something unknown is always possible.
inline constexpr double kMaxConfidence = 0.99;

}  // namespace weir::reason::thresholds
