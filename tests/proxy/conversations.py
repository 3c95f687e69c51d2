#!/usr/bin/env python3
"""Conversations with one worker, byte for byte; speaks TAP.  usage: conversations.py WORKER [PATTERN]"""
import glob
import importlib
import os
import shutil
import sys
import tempfile
import threading
import traceback

import talk
from talk import Worker

program, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
modules = [importlib.import_module(os.path.basename(f)[:-3]) for f in sorted(glob.glob(os.path.join(os.path.dirname(__file__), "test_*.py")))]
tests = [(m.__name__[5:], n[5:], getattr(m, n)) for m in modules
         for n in dir(m) if n.startswith("test_")]
tests = [t for t in tests if pattern in f"{t[0]} {t[1]}".replace("_", " ")]
results = {}


def run(test):
    """Each test has a worker of its own; it must end cleanly (sanitizers speak then)."""
    folder = tempfile.mkdtemp(prefix="tulou-proxy-")
    worker = None
    try:
        worker = Worker(program, folder)
        test(worker)
        worker.stop()
        worker = None
        return None
    except Exception:  # pylint: disable=broad-except
        return traceback.format_exc()
    finally:
        if worker:
            worker.process.kill()
            worker.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def later(i, test):
    results[i] = run(test)


# Those that wait for deadlines wait beside the others.
waiting = {}
for number, (_, _, function) in enumerate(tests):
    if getattr(function, "slow", False):
        waiting[number] = threading.Thread(target=later, args=(number, function))
        waiting[number].start()
failed = 0
print(f"1..{len(tests)}")
for number, (suite, name, function) in enumerate(tests):
    if number in waiting:
        waiting[number].join()
    else:
        results[number] = run(function)
    print(f"{'not ok' if results[number] else 'ok'} {number + 1} - {suite}: {name.replace('_', ' ')}", flush=True)
    if results[number]:
        failed += 1
        print("".join(f"  # {line}\n" for line in results[number].rstrip().split("\n")), end="", flush=True)
sys.stdout.flush()
# Threads of scripted apps may still wait for connections.
os._exit(1 if failed else 0)
