#!/usr/bin/env python3
"""cases.py KERNEL WEIR NETNS-LIBRARY-TESTS TRACE-FILTER-TESTS [mend]: what Weir must show on another kernel, run inside it. Prints one line a case; exits 1 on a failure.

One boot for all of them, few processes: everything is about 20 times slower here. No throughput and no short delay is
asserted.
"""
import json
import subprocess
import sys

KERNEL, WEIR, NETNS_TESTS, FILTER_TESTS = sys.argv[1:5]
ABSENT = {
    "6.1": {"netfilter_link", "tcx", "rdonly_cast", "kprobe_multi", "netns_id"},
    "6.12": {"netns_id"},
}[KERNEL]
LIMIT_S = 180
WATCHED = "14s"  # three windows of at least 500 packets, with time to load the programs
PPS = 2000
FLOW_PPS = 3500  # one heavy flow is a finding from 2000 packets/s a queue on

# scenario, finding, cause, culprit, what "changed_at" must name
VERDICTS = [
    ("healthy", None, None, None, None),
    ("veth-gro", None, None, None, None),
    ("tx-collapse-tap", "tx-queue-collapse", "recorded-rx-queue", "tap0",
     "between tun receive and net:netif_receive_skb on weir-host/tap0"),
    ("tx-collapse-injected", "tx-queue-collapse", "recorded-rx-queue", "pv0",
     "in a tc filter at ingress of weir-host/pv0"),
    ("tx-collapse-pod-xps", "tx-queue-collapse", "recorded-rx-queue", "pv0", "the queue choice of weir-pod/eth0 (tx queue 1)"),
    ("nic-xps", "tx-queue-collapse", "xps", None, None),
    ("single-flow", "tx-queue-collapse", "single-flow", None, None),
]

failures = 0


def case(name, problem):
    global failures
    failures += bool(problem)
    print(f"FAILED {name}: {problem}" if problem else f"ok     {name}", flush=True)


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S,
                          check=False, stdin=subprocess.DEVNULL)


def bpf_objects():
    found = set()
    for kind in ("link", "prog", "map"):
        found |= {(kind, entry["id"]) for entry in json.loads(run("bpftool", "-j", kind, "show").stdout or "[]")}
    return found


def tc_state():
    return run("ip", "netns", "exec", "weir-host", "sh", "-c",
               "tc qdisc show; tc filter show dev nic0 egress; bpftool net").stdout


def capabilities():
    ran = run(WEIR, "capabilities", "--json")
    if ran.returncode != 0:
        return ran.stderr
    rungs = json.loads(ran.stdout)["rungs"]
    absent = {rung["name"] for rung in rungs if not rung["available"]}
    if absent != ABSENT:
        return f"absent are {sorted(absent)}, expected {sorted(ABSENT)}"
    silent = [rung["name"] for rung in rungs if not rung["available"] and not (rung["reason"] and rung["without_it"])]
    return f"no reason for {silent}" if silent else None


def verdict(scenario, finding, cause, culprit, changed_at):
    pps = FLOW_PPS if cause == "single-flow" else PPS
    ran = run(WEIR, "lab", "run", scenario, "--pps", str(pps), "--", WEIR, "doctor", "--for", WATCHED, "--json")
    if ran.returncode != 0:
        return ran.stderr
    found = json.loads(ran.stdout)["findings"]
    if finding is None:
        return f"found {found}" if found else None
    if len(found) != 1 or (found[0]["id"], found[0]["cause"]) != (finding, cause):
        return f"found {[(one['id'], one['cause']) for one in found]}"
    one = found[0]
    if culprit and (one["culprits"][0]["name"] != culprit or one["culprits"][0]["share"] < 0.95):
        return f"culprits {one['culprits']}"
    if changed_at and changed_at not in one["changed_at"]:
        return f"changed {one['changed_at']}"
    return f"only {one['confidence']} sure" if one["confidence"] < 0.9 else None


def mend_and_take_back():
    """Runs as the command of `weir lab run`, so that traffic flows meanwhile."""
    before = tc_state()
    mended = run(WEIR, "queues", "fix", "weir-host/nic0", "--apply", "--json")
    if mended.returncode != 0:
        return f"fix: {mended.stderr}"
    if tc_state() == before:
        return "fix changed nothing"
    undone = run(WEIR, "queues", "undo", "weir-host/nic0", "--apply")
    if undone.returncode != 0:
        return f"undo: {undone.stderr}"
    after = tc_state()
    return None if after == before else f"before: {before}\nafter: {after}"


def fix_and_undo():
    ran = run(WEIR, "lab", "run", "tx-collapse-tap", "--pps", str(PPS), "--", sys.executable, __file__, KERNEL, WEIR, NETNS_TESTS,
              FILTER_TESTS, "mend")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def torture():
    """Here identities are cookies of sockets, which takes a thread each time; VRFs exist."""
    ran = run(WEIR, "netns", "torture", "--for", "20s", "--namespaces", "16", "--threads", "2")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def netns_library():
    # Emulated, 6.1 takes namespaces apart more slowly than ten thousand are made, and its limit is reached.
    ran = run(NETNS_TESTS, "--gtest_brief=1", "--gtest_filter=-*TenThousand*")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def trace_filter():
    """No bpf_rdonly_cast() to void here: filters copy what they look at."""
    ran = run(FILTER_TESTS, "--gtest_brief=1")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def main():
    if sys.argv[5:] == ["mend"]:
        problem = mend_and_take_back()
        print(problem or "as it was")
        sys.exit(1 if problem else 0)
    before = bpf_objects()
    case("capabilities", capabilities())
    for row in VERDICTS:
        case(row[0], verdict(*row))
    case("fix and undo", fix_and_undo())
    case("netns torture", torture())
    case("netns library", netns_library())
    case("trace filter", trace_filter())
    case("nothing is left loaded", ", ".join(map(str, sorted(bpf_objects() - before))))
    case("no namespace is left", run("ip", "netns", "list").stdout)
    sys.exit(1 if failures else 0)


main()
