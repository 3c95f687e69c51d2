#!/usr/bin/env python3
"""Conversations with one worker, byte for byte; speaks TAP.  usage: conversations.py WORKER [PATTERN]"""
import glob
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import traceback

import talk
from talk import Worker

program, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
modules = [importlib.import_module(os.path.basename(f)[:-3]) for f in sorted(glob.glob(os.path.join(os.path.dirname(__file__), "test_*.py")))]
tests = [(m.__name__[5:], n[5:], getattr(m, n)) for m in modules
         for n in dir(m) if n.startswith("test_")]
tests = [t for t in tests if pattern in f"{t[0]} {t[1]}".replace("_", " ")]


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


def later(test, out):
    out.send(run(test))
    out.close()
    os._exit(0)


def begin(test):
    """In a process of its own, so that its threads take no turns from those of the tests beside it."""
    out, end = multiprocessing.Pipe(duplex=False)
    multiprocessing.get_context("fork").Process(target=later, args=(test, end), daemon=True).start()
    end.close()
    return out


def result(out):
    try:
        return out.recv()
    except EOFError:
        return "the test's process ended without a word\n"


# Those that wait for deadlines wait beside the others; they are begun while this process has no threads.
waiting = {n: begin(t[2]) for n, t in enumerate(tests) if getattr(t[2], "slow", False)}
failed = 0
print(f"1..{len(tests)}")
for number, (suite, name, function) in enumerate(tests):
    fault = result(waiting[number]) if number in waiting else run(function)
    print(f"{'not ok' if fault else 'ok'} {number + 1} - {suite}: {name.replace('_', ' ')}", flush=True)
    if fault:
        failed += 1
        print("".join(f"  # {line}\n" for line in fault.rstrip().split("\n")), end="", flush=True)
sys.stdout.flush()
# Threads of scripted apps may still wait for connections.
os._exit(1 if failed else 0)
