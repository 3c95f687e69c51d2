"""The dashboard of a real node, driven in Chromium."""
import re
from harness import *


def setup():
    node = Node("dash", control="tulou.localhost").start()
    node.acme = node.tenant("acme")
    node.app("shop", node.acme)
    node.deploy_ok("shop", node.acme, server("shop"))
    return node


def teardown(node):
    if node:
        node.cleanup()


def test_browser(node):
    """log in, look at host and app, scale, restart, follow logs, create and delete an app"""
    if run("sh", "-c", "command -v chromium chromium-browser").returncode != 0:
        raise Skip("chromium is not installed (deploy/bootstrap test)")
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=node.token, TULOU_TENANT_TOKEN=node.acme, TULOU_APP="shop")
    r = run(os.path.join(ROOT, "tests/system/dashboard/run"), env=env, timeout=300)
    bad = re.findall(r"^\s*not ok .*", r.stdout, re.M)
    check(r.returncode == 0 and not bad, f"{bad[:8]} {r.stdout[-1500:] if bad else ''} {r.stderr[-800:]}")
    check(len(re.findall(r"^ok ", r.stdout, re.M)) > 10, r.stdout[-1500:])


def test_page_is_in_the_program(node):
    """the page comes from the binary, with a strict policy and an entity tag"""
    status, data, headers = node.request("GET", "/")
    equal((status, headers["Content-Type"].split(";")[0]), (200, "text/html"), "page")
    check("script-src 'self'" in headers["Content-Security-Policy"] and "unsafe" not in headers["Content-Security-Policy"], headers["Content-Security-Policy"])
    equal(node.request("GET", "/", headers={"If-None-Match": headers["ETag"]})[0], 304, "unchanged page")
