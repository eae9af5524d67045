#!/usr/bin/env python3
"""Counts the cases of a test run: GoogleTest's own where a program left them, else ctest's verdict on the program.

RESULTS/NAME.ctest.xml is ctest's JUnit file of a run, RESULTS/NAME/*.xml what GoogleTest wrote in it. Prints the reasons of
skips, then `N passed, N failed, N skipped`; exits 1 when anything failed or nothing ran.
"""
import argparse
import collections
import pathlib
import sys
import xml.etree.ElementTree as xml


def gtest_cases(path):
    """(passed, failed, [skips]) of one GoogleTest program; None when it died while writing."""
    try:
        root = xml.parse(path).getroot()
    except (OSError, xml.ParseError):
        return None
    passed, failed, skips = 0, 0, []
    for case in root.iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            failed += 1
        elif skipped is not None or case.get("result") == "skipped":
            message = skipped.get("message", "") if skipped is not None else ""
            # The message opens with the line of GTEST_SKIP; the reason is what was streamed into it.
            reason = [line for line in message.splitlines() if line.strip() and not line.split(":")[0].endswith(".cpp")]
            skips.append((name, " ".join(reason) or "no reason given"))
        elif case.get("status") == "run":
            passed += 1
    return passed, failed, skips


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("--extra-passed", type=int, default=0)
    parser.add_argument("--extra-failed", type=int, default=0)
    args = parser.parse_args()

    passed, failed, skips = 0, 0, []
    for run in sorted(args.results.glob("*.ctest.xml")):
        cases = run.parent / run.name.removesuffix(".ctest.xml")
        for test in xml.parse(run).getroot().iter("testcase"):
            name, status = test.get("name"), test.get("status")
            found = gtest_cases(cases / f"test_{name.replace('.', '_', 1)}.xml")
            if found:
                passed += found[0]
                failed += found[1]
                skips += found[2]
                # It died, leaked or ran out of time after its cases had passed.
                if status == "fail" and not found[1]:
                    failed += 1
            elif status == "run":
                passed += 1
            elif status == "fail":
                failed += 1
            else:
                skips.append((name, "the whole program"))

    by_reason = collections.defaultdict(list)
    for name, reason in skips:
        by_reason[reason].append(name)
    for reason, names in sorted(by_reason.items()):
        print(f"skipped {len(names)}: {reason} ({', '.join(sorted(names)[:3])}{', …' if len(names) > 3 else ''})")
    failed += args.extra_failed
    nothing = passed + failed + len(skips) == 0
    print(f"{passed + args.extra_passed} passed, {failed} failed, {len(skips)} skipped")
    return 1 if failed or nothing else 0


if __name__ == "__main__":
    sys.exit(main())
