#!/usr/bin/env python3
"""cases.py KERNEL WEIR NETNS-LIBRARY-TESTS TRACE-FILTER-TESTS TRACE-FUNCTIONS-TESTS [mend|trace|functions|flows]: what Weir must show on another kernel, run inside it. Prints one line a case; exits 1 on a failure.

One boot for all of them, few processes: everything is about 20 times slower here. No throughput and no short delay is
asserted.
"""
import json
import signal
import subprocess
import sys

KERNEL, WEIR, NETNS_TESTS, FILTER_TESTS, FUNCTIONS_TESTS = sys.argv[1:6]
ABSENT = {
    "6.1": {"netfilter_link", "tcx", "rdonly_cast", "kprobe_multi", "netns_id"},
    "6.12": {"netns_id"},
}[KERNEL]
FUNCTION_RUNGS = {"6.1": {"fentry"}, "6.12": {"kprobe_multi", "fentry", "kprobe"}}[KERNEL]
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
              FILTER_TESTS, FUNCTIONS_TESTS, "mend")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def torture():
    """Here identities are cookies of sockets, which takes a thread each time; VRFs exist."""
    ran = run(WEIR, "netns", "torture", "--for", "20s", "--namespaces", "16", "--threads", "2")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def netns_library():
    # Emulated, 6.1 takes namespaces apart more slowly than ten thousand are made, and its limit is reached.
    ran = run(NETNS_TESTS, "--gtest_brief=1", "--gtest_filter=-*TenThousand*")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def traced(arguments, command):
    """What a trace says while the command runs; it ends by itself."""
    tracer = subprocess.Popen([WEIR, "trace", "--json", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    while "tracing at" not in said:
        line = tracer.stderr.readline()
        if not line:
            return None, said
        said += line
    said += run(*command).stderr
    tracer.send_signal(signal.SIGINT)
    out, err = tracer.communicate(timeout=LIMIT_S)
    return [json.loads(line) for line in out.splitlines()], said + err


def journeys_of(events):
    """Those of echo requests, by name: their hooks in order."""
    found = {}
    requests = {event["journey"] for event in events
                if (event.get("packet") or {}).get("icmp", {}).get("type") == 8}
    for event in events:
        if event.get("journey") in requests:
            found.setdefault(event["journey"], []).append(event)
    return found


def journeys(device):
    """Each of three pings between two namespaces is one journey, whole, with functions of the kernel in it."""
    wanted = ["kprobe:ip_output", "net:net_dev_queue", "net:net_dev_start_xmit", "net:netif_rx",
              "net:netif_receive_skb", "kprobe:ip_rcv", "kprobe:icmp_rcv", "skb:consume_skb"]
    events, said = traced(["--profile", "default", "--probe", "fn:ip_rcv", "--probe", "fn:icmp_rcv", "--probe", "fn:ip_output",
                           "icmp"],
                          ["ip", "netns", "exec", "vm-a", "ping", "-q", "-c", "3", "-i", "0.3", "-W", "5",
                           "10.9.0.2" if device == "va" else "10.8.0.2"])
    if events is None:
        return said
    summary = events[-1]
    if summary["seen"] != summary["emitted"] + summary["filtered"] + summary["sampled_out"] + summary["lost"]:
        return f"the books do not add up: {summary}"
    found = journeys_of(events)
    if len(found) != 3:
        return f"{len(found)} journeys of 3 pings: {said}"
    for name, own in found.items():
        hooks = [event["hook"] for event in own]
        if [hook for hook in wanted if hook in hooks] != wanted:
            return f"{name} has {hooks}"
        if (own[0]["netns"], own[-1]["netns"]) != ("vm-a", "vm-b"):
            return f"{name} goes from {own[0]['netns']} to {own[-1]['netns']}"
        if device not in [event["dev"] for event in own]:
            return f"{name} was never at {device}"
    return None


def trace_journeys():
    commands = ["netns add vm-a", "netns add vm-b", "link add va netns vm-a type veth peer name vb netns vm-b"]
    for ns, device, number in (("vm-a", "va", 1), ("vm-b", "vb", 2)):
        commands += [f"-n {ns} addr add 10.9.0.{number}/24 dev {device}", f"-n {ns} link set {device} up"]
    problem = "".join(run("ip", *command.split()).stderr for command in commands)
    case("journeys of a veth", problem or journeys("va"))
    commands = []
    for ns, device, number in (("vm-a", "va", 1), ("vm-b", "vb", 2)):
        commands += [f"-n {ns} link add link {device} name {device}.7 type vlan id 7",
                     f"-n {ns} addr add 10.8.0.{number}/24 dev {device}.7", f"-n {ns} link set {device}.7 up"]
    problem = run("modprobe", "8021q").stderr or "".join(run("ip", *command.split()).stderr for command in commands)
    case("journeys of a VLAN", problem or journeys("va.7"))
    for ns in ("vm-a", "vm-b"):
        run("ip", "netns", "delete", ns)


def flows():
    """The ledger closes but for what passes while it is read, which takes its time here; and what conntrack
    rewrites is named and one connection on all devices, in a network with NAT."""
    ran = run(WEIR, "lab", "run", "nat", "--", WEIR, "flows", "list", "--for", "4s", "--json")
    if ran.returncode != 0:
        return ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    open_ones = [line for line in lines[-1]["devices"] if abs(line["unattributed_bytes"]) > 0.02 * line["interface_bytes"]]
    if open_ones or not lines[-1]["devices"]:
        return f"the ledger does not close: {open_ones or lines[-1]}"
    rewritten = [line for line in lines[:-1] if line["nat"] and line["nat"]["rewrites"]]
    if not rewritten:
        return f"no flow of {len(lines) - 1} is rewritten"
    tables = lines[-1]["conntrack"]
    if tables["source"] != "events" or tables["malformed"] or tables["unread"] or not any(line["ct"] for line in rewritten):
        return f"conntrack's table is not known: {tables}"
    devices = {}
    for line in lines[:-1]:
        devices.setdefault(line["connection"], []).append((line["dev"], line["counted"]))
    if not all(1 <= sum(counted for _, counted in rows) <= 2 for rows in devices.values()):
        return "a direction of a connection does not count once"
    crossing = {line["connection"] for line in rewritten}
    return None if max(len(devices[one]) for one in crossing) == 8 else f"no connection crosses four devices both ways: {devices}"


def bursts():
    """Bytes of each millisecond: the programs load and count."""
    ran = run(WEIR, "lab", "run", "nat", "--", WEIR, "flows", "footprints", "--bursts", "--json")
    if ran.returncode != 0:
        return ran.stderr
    seen = [json.loads(line).get("millisecond_bursts") for line in ran.stdout.splitlines()]
    return None if any(one and one["bytes"] > 0 and one["milliseconds"] > 1000 for one in seen) else f"no bursts: {ran.stdout}"


def trace_filter():
    """No bpf_rdonly_cast() to void here: filters copy what they look at."""
    ran = run(FILTER_TESTS, "--gtest_brief=1")
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def function_rungs():
    """Functions of the kernel by each of the means in turn: where one is there, it fires with the right packet and name."""
    ran = run(FUNCTIONS_TESTS, "--gtest_color=no")
    if ran.returncode != 0:
        return ran.stdout + ran.stderr
    passed = {rung for rung in ("kprobe_multi", "fentry", "kprobe")
              if any(line.startswith("[       OK ]") and f"/{rung} (" in line for line in ran.stdout.splitlines())}
    return None if passed == FUNCTION_RUNGS else f"seen to work are {sorted(passed)}, expected {sorted(FUNCTION_RUNGS)}"


def main():
    if sys.argv[6:] == ["functions"]:
        case("function rungs", function_rungs())
        sys.exit(1 if failures else 0)
    if sys.argv[6:] == ["trace"]:
        trace_journeys()
        sys.exit(1 if failures else 0)
    if sys.argv[6:] == ["flows"]:
        case("flows", flows())
        case("bursts", bursts())
        sys.exit(1 if failures else 0)
    if sys.argv[6:] == ["mend"]:
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
    trace_journeys()
    case("function rungs", function_rungs())
    case("flows", flows())
    case("bursts", bursts())
    case("nothing is left loaded", ", ".join(map(str, sorted(bpf_objects() - before))))
    case("no namespace is left", run("ip", "netns", "list").stdout)
    sys.exit(1 if failures else 0)


main()
