"""World clock: a page and a JSON API on Python's standard library alone.

Shows what an app on Tulou needs: it listens on $PORT on all addresses, answers /healthz, and leaves at SIGTERM.
"""

import html
import json
import os
import signal
import threading
import time
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo, available_timezones

CITIES = ["Asia/Shanghai", "Asia/Tokyo", "Asia/Kolkata", "Africa/Nairobi", "Europe/Berlin", "Europe/London",
          "America/Sao_Paulo", "America/New_York", "America/Los_Angeles"]
ZONES = frozenset(available_timezones())
STARTED = time.monotonic()

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.html"), encoding="utf-8") as f:
    PAGE = f.read()


def reading(zone):
    """The time in one zone, as the API gives it."""
    now = datetime.now(timezone.utc).astimezone(ZoneInfo(zone))
    return {"zone": zone, "city": zone.rsplit("/", 1)[-1].replace("_", " "), "time": now.isoformat(timespec="seconds"),
            "offset_minutes": int(now.utcoffset().total_seconds() // 60), "daylight_saving": bool(now.dst())}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the front door keeps its connections
    server_version = "clock"
    sys_version = ""
    timeout = 95  # seconds; an idle connection does not hold a thread for ever
    disable_nagle_algorithm = True
    wbufsize = -1  # one segment per answer

    def answer(self, status, body, kind="application/json"):
        if not isinstance(body, bytes):
            body = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query, max_num_fields=16)
        if url.path == "/":
            release = os.environ.get("TULOU_RELEASE", "local")
            instance = os.environ.get("TULOU_INSTANCE", "-")
            page = PAGE.replace("{{about}}", html.escape(f"release {release} · instance {instance}"))
            self.answer(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")
        elif url.path == "/healthz":
            self.answer(HTTPStatus.OK, b"ok\n", "text/plain; charset=utf-8")
        elif url.path == "/api/clocks":
            self.answer(HTTPStatus.OK, {"items": [reading(z) for z in CITIES]})
        elif url.path == "/api/time":
            zone = query.get("zone", ["UTC"])[0]
            if zone in ZONES:
                self.answer(HTTPStatus.OK, reading(zone))
            else:
                self.answer(HTTPStatus.UNPROCESSABLE_ENTITY,
                            {"error": "zone is not a name of the time zone database, like Europe/Berlin", "field": "zone"})
        elif url.path == "/api/zones":
            wanted = query.get("q", [""])[0].lower()
            self.answer(HTTPStatus.OK, {"items": sorted(z for z in ZONES if wanted in z.lower())[:50]})
        elif url.path == "/api/about":
            self.answer(HTTPStatus.OK, {"app": os.environ.get("TULOU_APP", "clock"),
                                        "uptime_seconds": int(time.monotonic() - STARTED)})
        else:
            self.answer(HTTPStatus.NOT_FOUND, {"error": "not found", "path": url.path})

    do_HEAD = do_GET

    def log_message(self, format, *args):
        print(f"{self.command} {urlsplit(self.path).path} {args[1] if len(args) > 1 else '-'}", flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server(("0.0.0.0", int(os.environ.get("PORT", "3000"))), Handler)
    # shutdown() waits for the loop in this very thread, so it must be called from another.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {server.server_address[1]}", flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
