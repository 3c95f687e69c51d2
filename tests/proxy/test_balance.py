"""Pages in the language of who sees them, trace context, and who gets which request when instances fail or are busy."""
import json
import re
import tempfile
import threading

from talk import WAIT, App, Worker, answer, client, get, serve, until


def test_pages_speak_the_language_asked_for(worker):
    worker.app("a", state="crashed")
    html = "Accept: text/html\r\nAccept-Language: "
    status, fields, body = get(worker, "a.test", more=html + "de-CH, fr;q=0.9\r\n")
    assert status == 503 and fields["content-language"] == "de" and b'<html lang="de">' in body
    assert "Die App stürzt immer wieder ab".encode() in body and fields["vary"] == "Accept, Accept-Language"
    assert int(fields["content-length"]) == len(body)
    assert get(worker, "a.test", more=html + "xx\r\nAccept-Language: ja\r\n")[1]["content-language"] == "ja"
    assert get(worker, "a.test", more=html + "zh-TW\r\n")[1]["content-language"] == "zh-Hant"
    _, fields, body = get(worker, "a.test", more=html + "xx;q=1, en;q=0.1\r\n")
    assert fields["content-language"] == "en" and b"<details" not in body
    # Programs get what they can compare.
    _, fields, body = get(worker, "a.test", more="Accept: application/json\r\nAccept-Language: de\r\n")
    assert fields["content-language"] == "en" and b"app-crashed" in body and b"keeps crashing" in body
    _, fields, body = get(worker, "nobody.test", more=html + "pl\r\n")
    assert "Pod tą nazwą nie ma żadnej aplikacji".encode() in body


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def sent(worker, app, more):
    before = len(app.seen())
    assert get(worker, "a.test", more=more)[0] == 200
    head = app.seen()[before:].decode("latin-1")
    return [x.split(": ", 1)[1] for x in head.split("\r\n") if x.lower().startswith("traceparent:")], \
           [x.split(": ", 1)[1] for x in head.split("\r\n") if x.lower().startswith("tracestate:")]


def test_trace_context_is_passed_on_or_begun(worker):
    a = serve()
    worker.app("a", a)
    assert sent(worker, a, f"traceparent: {PARENT}\r\ntracestate: a=1\r\nTraceState: b=2\r\n") == ([PARENT], ["a=1", "b=2"])
    later = "01" + PARENT[2:] + "-what-comes"
    assert sent(worker, a, f"Traceparent: {later}\r\n") == ([later], [])
    seen = set()
    for bad in ("", PARENT.upper(), PARENT + "-x", "ff" + PARENT[2:], PARENT[:-1], f"00-{'0' * 32}-00f067aa0ba902b7-01",
                f"00-{TRACE}-{'0' * 16}-01", "01" + PARENT[2:] + "x", PARENT + f"\r\ntraceparent: {PARENT}", PARENT.replace("-", "_"),
                PARENT.replace("4bf", "4bg"), "x" * 16000):
        parents, states = sent(worker, a, f"traceparent: {bad}\r\ntracestate: a=1\r\n")
        assert len(parents) == 1 and states == [], bad
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", parents[0]) and TRACE not in parents[0], parents
        seen.add(parents[0][3:35])
    assert len(seen) == 12
    with_log = f"traceparent: {PARENT}\r\n"
    sent(worker, a, with_log)
    until("it is logged", lambda: f'"trace_id":"{TRACE}"' in open(worker.log).read())
    line = [x for x in open(worker.log) if '"trace_id":""' in x]
    assert line == []


class Counting:
    """An app that answers when told to and knows how many requests it has at a time."""
    def __init__(self):
        self.lock, self.now, self.most, self.order = threading.Lock(), 0, 0, []
        self.go = threading.Semaphore(0)
        self.app = App(self.talk)

    def talk(self, c, _):
        while True:
            line, fields = c.head()
            c.body(fields)
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
                self.order.append(line.split()[1])
            assert self.go.acquire(timeout=WAIT)
            with self.lock:
                self.now -= 1
            c.send(answer(line.split()[1].encode()))


def ask(worker, path, method="GET"):
    return client(worker, f"{method} {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n".encode())


def test_a_busy_instance_gets_no_more_than_its_limit_and_others_wait_in_order(worker):
    app = Counting()
    n = worker.app("a", app.app, wait=8000)
    worker.tell(f"spread {n} 2 0")
    clients = []
    for i in range(8):
        clients.append(ask(worker, f"/{i}"))
        until("it is there", lambda: worker.figures(f"stats {n}")["in_flight"] == i + 1)
    assert worker.figures("worker")["parked"] == 6
    clients[4].close()  # who leaves does not hold up the others
    until("it left", lambda: worker.figures("worker")["parked"] == 5)
    for _ in range(7):
        app.go.release()
    for i, c in enumerate(clients):
        if i != 4:
            assert c.response()[2] == f"/{i}".encode()
    assert app.most == 2 and sorted(app.order) == [f"/{i}" for i in range(8) if i != 4], app.order
    worker.silent("wake")
    s = worker.figures(f"stats {n}")
    assert s["waited"] == 6 and s["in_flight"] == 0 and worker.figures("worker")["parked"] == 0
    # Without the limit nobody waits.
    worker.tell(f"spread {n} 0 0")
    clients = [ask(worker, "/x") for _ in range(5)]
    until("all run", lambda: app.now == 5)
    for _ in clients:
        app.go.release()


def test_the_queue_of_a_busy_app_has_an_end_and_a_bound(worker):
    app = Counting()
    n = worker.app("a", app.app, wait=700)
    worker.tell(f"spread {n} 1 0")
    first = ask(worker, "/0")
    until("it runs", lambda: app.now == 1)
    status, fields, _ = ask(worker, "/1").response()
    assert status == 503 and fields["tulou-fault"] == "app-busy" and int(fields["retry-after"]) > 0
    worker.tell(f"app {n} serving 9000 a")
    waiting = [ask(worker, "/2") for _ in range(256)]
    until("they wait", lambda: worker.figures("worker")["parked"] == 256)
    status, fields, _ = ask(worker, "/3").response()
    assert status == 503 and fields["tulou-fault"] == "app-crowded" and "retry-after" in fields
    for c in waiting:
        c.close()
    app.go.release()
    assert first.response()[0] == 200
    until("all left", lambda: worker.figures("worker")["parked"] == 0)
    app.go.release()
    assert ask(worker, "/4").response()[0] == 200


def test_two_workers_share_one_limit_and_one_order(worker):
    app = Counting()
    with tempfile.TemporaryDirectory() as folder:
        other = Worker(worker.command, folder, beside=worker)
        other.next_id = worker.next_id
        n = worker.app("a", app.app, wait=9000)
        assert other.app("a", app.app, wait=9000) == n
        for w in (worker, other):
            w.tell(f"spread {n} 1 0")
        clients = []
        for i in range(10):
            w = (worker, other)[i % 2]
            clients.append(ask(w, f"/{i}"))
            until("it is there", lambda: w.figures("stats %d" % n)["in_flight"] == i + 1)
        for i, c in enumerate(clients):
            app.go.release()
            assert c.response()[2] == f"/{i}".encode()
        assert app.most == 1 and app.order == [f"/{i}" for i in range(10)], app.order
        # One that is killed takes its counts with it.
        ask(other, "/lost")
        until("it runs", lambda: app.now == 1)
        other.process.kill()
        other.process.wait()
        c = ask(worker, "/after")
        for _ in range(2):
            app.go.release()
        assert c.response()[2] == b"/after"


def test_the_fewest_requests_of_all_workers_decide(worker):
    apps = [Counting(), Counting()]
    with tempfile.TemporaryDirectory() as folder:
        other = Worker(worker.command, folder, beside=worker)
        other.next_id = worker.next_id
        n = worker.app("a", *[a.app for a in apps])
        other.app("a", *[a.app for a in apps])
        for i in range(12):
            w = (worker, other)[i % 2]
            ask(w, "/")
            until("it runs", lambda: sum(a.now for a in apps) == i + 1)
        assert [a.now for a in apps] == [6, 6]
        for a in apps:
            for _ in range(6):
                a.go.release()
        until("all went", lambda: worker.figures(f"stats {n}")["in_flight"] == 0)
        other.stop()


def ending(reads=True):
    """An app whose connections end without a byte of an answer."""
    def talk(c, _):
        if reads:
            c.head()
    return App(talk)


def test_an_idempotent_request_goes_to_another_instance_and_no_other_does(worker):
    bad, good = ending(), serve(b"good")
    n = worker.app("a", bad, good)
    for _ in range(2):
        assert get(worker, "a.test")[2] == b"good"
    codes = sorted(ask(worker, "/", method="POST").response()[0] for _ in range(2))
    assert codes == [200, 502], codes
    # One repetition, not more: two bad ones are a fault.
    worse = ending()
    worker.tell(f"inst {n} {worse.id} 127.0.0.1:{worse.port} up", f"instdel {good.id}")
    assert get(worker, "a.test")[0] == 502
    assert bad.seen().count(b"GET") + worse.seen().count(b"GET") <= 4


def test_an_instance_that_fails_is_put_aside_and_tried_again(worker):
    ill = [True]

    def talk(c, _):
        c.head()
        if ill[0]:
            return
        c.send(answer(b"well"))
    a, b, d = App(talk), serve(b"good"), serve(b"good")
    worker.app("a", a, b, d)
    bad = sum(ask(worker, "/", method="POST").response()[0] == 502 for _ in range(30))
    assert bad == 3, bad
    worker.expect(f"failing {a.id}")
    ill[0] = False
    until("it serves again", lambda: ask(worker, "/", method="POST").response()[2] == b"well", 5)
    assert sum(ask(worker, "/", method="POST").response()[2] == b"well" for _ in range(30)) >= 8


def test_not_all_instances_are_put_aside(worker):
    ill = [True]

    def talk(c, _):
        c.head()
        if not ill[0]:
            c.send(answer(b"well"))
    apps = [App(talk) for _ in range(3)]
    worker.app("a", *apps)
    for _ in range(30):
        assert ask(worker, "/", method="POST").response()[0] == 502
    assert min(len(a.connections) for a in apps) >= 3
    ill[0] = False
    for _ in range(12):
        assert ask(worker, "/", method="POST").response()[0] == 200


def test_repeats_have_a_budget(worker):
    apps = [ending() for _ in range(2)]
    worker.app("a", *apps)
    for _ in range(150):
        assert get(worker, "a.test")[0] == 502
    total = sum(len(a.connections) for a in apps)
    assert 150 + 64 <= total <= 150 + 64 + 31, total


def test_waiting_ones_outlive_a_change_of_instances(worker):
    """The old instance is gone before the new one is there, and nobody sees it."""
    old = Counting()
    n = worker.app("a", old.app, wait=9000)
    c = ask(worker, "/kept")
    until("it runs", lambda: old.now == 1)
    worker.tell(f"app {n} hold 9000 a", f"instdel {old.app.id}")
    until("it waits", lambda: worker.figures("worker")["parked"] == 1)
    new = serve(b"new")
    worker.tell(f"inst {n} {new.id} 127.0.0.1:{new.port} up", f"app {n} serving 9000 a")
    assert c.response()[2] == b"new"
    old.go.release()


def test_lines_of_the_access_log_are_marked_for_the_app_that_asked(worker):
    a = serve()
    n = worker.app("a", a)
    for _ in range(3):
        get(worker, "a.test", path="/none?secret=1")
    worker.tell(f"spread {n} 0 1")
    get(worker, "a.test", path="/all?secret=1")
    worker.tell(f"spread {n} 0 3")
    for i in range(9):
        get(worker, "a.test", path=f"/third{i}")
    lines = until("they are logged", lambda: [x for x in map(json.loads, open(worker.log))][12:] and list(map(json.loads, open(worker.log))))
    marked = [x["path"] for x in lines if "to" in x]
    assert len(lines) == 13 and marked == ["/all", "/third2", "/third5", "/third8"], marked
    assert all(x["to"] == n for x in lines if "to" in x) and "secret" not in json.dumps(lines)


def test_a_sick_instance_is_the_last_choice(worker):
    """Not while another is up, however many are sick; when all are, they serve."""
    apps = [serve(name) for name in (b"0", b"1", b"2")]
    n = worker.app("a", *apps)

    def are(*states):
        worker.tell(*[f"inst {n} {x.id} 127.0.0.1:{x.port} {state}" for x, state in zip(apps, states)])

    def answers():
        return {get(worker, "a.test")[2] for _ in range(12)}
    assert answers() == {b"0", b"1", b"2"}
    are("sick", "up", "up")
    assert answers() == {b"1", b"2"}
    are("sick", "up", "sick")
    assert answers() == {b"1"}
    are("sick", "sick", "sick")
    assert answers() == {b"0", b"1", b"2"}
    are("sick", "draining", "sick")
    assert answers() == {b"0", b"2"}
    are("up", "draining", "sick")
    assert answers() == {b"0"}
    are("up", "up", "up")
    assert answers() == {b"0", b"1", b"2"}
    # Where the others refuse, it is tried after them.
    are("sick", "up", "up")
    apps[1].close()
    apps[2].close()
    for x in apps[1:]:
        for c in x.connections:
            c.close()
    until("it serves", lambda: answers() == {b"0"})


def test_requests_wait_for_a_place_rather_than_go_to_a_sick_one(worker):
    gate, asked = threading.Event(), []

    def slow(c, _):
        while True:
            asked.append(c.head()[0])
            gate.wait(WAIT)
            c.send(answer(b"well"))
    well, sick = App(slow), serve(b"sick")
    n = worker.app("a", well, sick)
    worker.tell(f"spread {n} 1 0", f"inst {n} {sick.id} 127.0.0.1:{sick.port} sick")
    first, second = client(worker, b"GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n"), client(worker, b"GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n")
    until("the first is there", lambda: asked)
    worker.reaches("worker", parked=1)
    gate.set()
    assert first.response()[2] == second.response()[2] == b"well" and not sick.seen()
