"""Runs the system tests as TAP: every function test_* of every test_*.py here, in order of file and line.
usage: run.py [--build DIR] [--only PATTERN]"""
import argparse, glob, importlib, inspect, os, re, sys, time, traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
parser = argparse.ArgumentParser()
parser.add_argument("--build", default="build")
parser.add_argument("--only", default="")
args = parser.parse_args()
os.environ["TULOU_BUILD"] = os.path.abspath(args.build)
import harness

n, bad = 0, 0
if os.geteuid() != 0:
    print("ok 1 - system tests # SKIP root is needed to make sandboxes")
    print("1..1")
    sys.exit(0)
for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "test_*.py"))):
    module = importlib.import_module(os.path.basename(path)[:-3])
    tests = [f for name, f in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_") and f.__module__ == module.__name__]
    tests.sort(key=lambda f: f.__code__.co_firstlineno)
    tests = [f for f in tests if re.search(args.only, module.__name__ + "." + f.__name__)]
    if not tests:
        continue
    context = None
    try:
        if hasattr(module, "setup"):
            context = module.setup()
    except BaseException as ex:
        n += 1
        bad += 1
        print(f"not ok {n} - {module.__name__}: setup: {ex}", flush=True)
        print("  # " + traceback.format_exc().replace("\n", "\n  # "), flush=True)
        if hasattr(module, "teardown"):
            module.teardown(context)
        continue
    for f in tests:
        n += 1
        title = f"{module.__name__[5:]}: {(f.__doc__ or f.__name__[5:].replace('_', ' ')).strip().splitlines()[0]}"
        started = time.monotonic()
        try:
            f(context) if inspect.signature(f).parameters else f()
            print(f"ok {n} - {title} ({time.monotonic() - started:.1f} s)", flush=True)
        except harness.Skip as ex:
            print(f"ok {n} - {title} # SKIP {ex}", flush=True)
        except BaseException as ex:
            bad += 1
            print(f"not ok {n} - {title}: {str(ex)[:600]}".replace("\n", "\\n"), flush=True)
            print("  # " + traceback.format_exc().replace("\n", "\n  # "), flush=True)
            if isinstance(ex, KeyboardInterrupt):
                break
    if hasattr(module, "teardown"):
        try:
            module.teardown(context)
        except BaseException as ex:
            n += 1
            bad += 1
            print(f"not ok {n} - {module.__name__}: teardown: {ex}", flush=True)
print(f"1..{n}")
sys.exit(1 if bad else 0)
