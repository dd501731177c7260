"""Runs all tests of the browser, or those whose names hold one of the words that are given."""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

from playwright.sync_api import sync_playwright

import chat_tests
import console_tests
import failover_tests
import hostile_tests
import look_tests
import offline_tests
import scroll_tests
from rig import Browser, Cluster, ROOT

MODULES = (
    chat_tests, look_tests, hostile_tests, scroll_tests, offline_tests, failover_tests,
    console_tests)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / ".build/debug/martlet")
    parser.add_argument("--screenshots", type=pathlib.Path, help="where pictures of states go")
    parser.add_argument("words", nargs="*")
    return parser.parse_args()


def run_one(test, cluster, browser):
    """Returns whether it passed."""
    name = test.__name__.removeprefix("test_").replace("_", " ")
    began = time.monotonic()
    failure = None
    browser.begin()
    try:
        test(cluster, browser)
        browser.check_faults()
    except Exception:
        failure = traceback.format_exc()
        browser.keep_picture(f"failed {name}")
    browser.end()
    if failure:
        # What it left broken must not fail the others.
        cluster.mend()
    print(f"{'FAILED' if failure else 'passed'} {time.monotonic() - began:6.1f} s  {name}",
          flush=True)
    if failure:
        print(failure, flush=True)
    return failure is None


def main():
    options = arguments()
    if not options.binary.exists():
        sys.exit(f"there is no {options.binary}")
    tests = [
        found for module in MODULES for name, found in vars(module).items()
        if name.startswith("test_") and (
            not options.words or any(word in name for word in options.words))]
    if not tests:
        sys.exit(f"no test has any of: {', '.join(options.words)}")
    place = pathlib.Path(tempfile.mkdtemp())
    passed = 0
    try:
        with Cluster(place, options.binary.resolve()) as cluster, sync_playwright() as playwright:
            browser = Browser(playwright, cluster, options.screenshots)
            for test in tests:
                passed += run_one(test, cluster, browser)
            browser.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if passed == len(tests):
        print(f"{passed} browser tests passed")
        return
    print(f"{len(tests) - passed} of {len(tests)} browser tests failed")
    sys.exit(1)


if __name__ == "__main__":
    main()
