"""What becomes of releases on a whole node, through the command line: pauses, config changes that fail, rollbacks, names that two apps want."""
from harness import *


def setup():
    node = Node("releases", proof="required")
    node.start()
    node.acme = node.tenant("acme")
    return node


def teardown(node):
    if node:
        node.cleanup()


def tulou(node, *words, token=None, app="shop", want=0):
    env = dict(os.environ, TULOU_URL=f"http://127.0.0.1:{node.port}", TULOU_TOKEN=token or node.acme, HOME=node.dir)
    r = run(os.path.join(BUILD, "tulou"), *words, "-a", app, env=env, timeout=90)
    check(want is None or r.returncode == want, f"tulou {' '.join(words)}: {r.returncode}: {r.stdout} {r.stderr}")
    return r.stdout + r.stderr


def deploy(node, app, version):
    node.deploy_ok(app, node.acme, {"server.py": SERVER % {"version": version}, "Procfile": 'web: test -z "$BOOM" || exit 9; python3 server.py\n'})


def states(node, app):
    return {r["version"]: r["state"] for r in json.loads(tulou(node, "releases", "--json", app=app))["items"]}


def test_a_pause_ends_a_rollout(node):
    """a release that no check has seen does not become live; what served serves again after resume"""
    node.app("still", node.acme)
    say = lambda *words, want=0: tulou(node, *words, app="still", want=want)
    deploy(node, "still", "v1")
    say("config", "set", "TULIP=1")
    node.api("PATCH", "/v1/apps/still", {"health_path": "/sleep/30"}, token=node.acme, want=200)
    say("apps", "restart", "still", "--no-wait")
    wait_for("the candidate", lambda: len(node.instances("still", node.acme)) == 2)
    say("apps", "pause", "still")
    wait_for("its end", lambda: states(node, "still")[3] == "failed")
    equal(states(node, "still")[2], "live", "the release that served")
    check(any(e["kind"] == "deploy.failed" and e["text"] == "v3 failed: the app was paused" for e in node.events("still")), node.events("still"))
    text = say("apps", "restart", "still")
    check("v4 is the live release; nothing runs of it, as the app is paused" in text, text)
    node.api("PATCH", "/v1/apps/still", {"health_path": ""}, token=node.acme, want=200)
    say("apps", "resume", "still")
    wait_for("it serves", lambda: node.get("still")[0] == 200)
    node.api("DELETE", "/v1/apps/still", token=node.acme, want=204)


def test_a_config_change_that_fails(node):
    """config set fails as its roll-out does; what it set comes with the next release, and unset takes it back"""
    node.app("shop", node.acme)
    deploy(node, "shop", "v1")
    text = tulou(node, "config", "set", "BOOM=1", want=1)
    check("v2 failed: web exited with code 9" in text and "tulou config unset BOOM -a shop" in text, text)
    check("v3 failed" in tulou(node, "config", "set", "BOOM=1", want=1), "the same again is tried again")
    check("v4 failed" in tulou(node, "apps", "restart", want=1), "a restart has the config as it is set")
    equal(node.get("shop")[0], 200, "the first release")
    check("v5 is the live release of shop" in tulou(node, "config", "unset", "BOOM"), "taken back")
    check("Nothing changed" in tulou(node, "config", "unset", "NOPE"), "an unknown name")
    check("v6 is the live release of shop" in tulou(node, "config", "set", "GREETING=hej"), "one that works")
    check("GREETING" in node.get("shop", "/env")[1], "it has come")
    check("Nothing changed" in tulou(node, "config", "set", "GREETING=hej"), "all has it")


def test_rollback_goes_further_back(node):
    """not to the same code that a restart made, and not to and fro"""
    deploy(node, "shop", "second")
    tulou(node, "apps", "restart")
    text = tulou(node, "rollback")
    check(re.search(r"Rolling out v9: Rollback to v6 \(build \d+\)", text), text)
    check("GREETING" in node.get("shop", "/env")[1] and "hello from v1" in node.get("shop")[1], "the tree and config before")
    check("Rolling out v10: Rollback to v5" in tulou(node, "rollback"), "further")
    check("GREETING" not in node.get("shop", "/env")[1], "the config before that")
    check("no earlier release" in tulou(node, "rollback", want=1), "v5 repeats v1, the first")


def test_a_name_that_two_apps_want(node):
    """who adds a name that another of its apps waits for is told, and the operator who gives their word for one"""
    node.app("blog", node.acme)
    tulou(node, "domains", "add", "both.example", app="blog")
    text = tulou(node, "domains", "add", "both.example")
    check("App blog of acme has both.example pending too" in text, text)
    text = tulou(node, "domains", "verify", "both.example", "--accept", token=node.token)
    check("shop serves it now, blog only once it is proved there" in text, text)
    text = tulou(node, "domains", "verify", "both.example", "--accept", token=node.token, app="blog")
    check("App shop of acme served both.example until now" in text, text)
    check(any(e["kind"] == "domain.lost" for e in node.events("shop")), node.events("shop"))
