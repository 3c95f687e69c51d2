"""agent/supervise alone (supervise_shell) in a network namespace of its own, on the real kernel; nothing left behind."""
import os, random, shutil, subprocess, tempfile, threading, time
from harness import BUILD, Failure, wait_for

V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
CONTROLLERS = ("memory", "cpu", "cpuacct", "pids", "blkio")


class Shell:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="tulou-test-shell-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.name = "tulou-test-%04x" % random.randrange(65536)
        self.prefix = "".join(random.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(4))
        self.process, self.next = None, 1
        os.makedirs(self.dir + "/data/releases/1/app")

    def start(self):
        program = os.path.join(BUILD, "supervise_shell")
        self.process = subprocess.Popen(["unshare", "-n", "-m", program, self.dir, BUILD, self.name, self.prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.answers, self.instances, self.usages, self.totals, self.rest = [], {}, {}, {}, []
        self.thread = threading.Thread(target=self.listen, args=(self.process,), daemon=True)
        self.thread.start()
        wait_for("the shell", lambda: "ready" in self.answers or self.process.poll() is not None, 30)
        if self.process.poll() is not None:
            raise Failure(f"the shell ended: {self.answers} {self.rest}")
        self.answers.clear()
        return self

    def listen(self, process):
        for line in process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word in ("instance", "usage", "total"):
                number, _, rest = rest.partition(" ")
                text = rest.partition(" text=")[2]
                fields = dict(w.partition("=")[::2] for w in rest.partition(" text=")[0].split() if "=" in w)
                if word == "instance":
                    fields.update(state=rest.split()[0], text=text)
                {"instance": self.instances, "usage": self.usages, "total": self.totals}[word].setdefault(int(number), []).append(fields)
            elif word in ("ok", "error", "ready", "synced", "gone"):
                self.answers.append(word + (" " + rest if rest else ""))
            else:
                self.rest.append(line)

    def say(self, line, want="ok"):
        n = len(self.answers)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        wait_for("an answer to " + line, lambda: len(self.answers) > n, 20)
        answer = self.answers[n]
        if want is not None and answer != want:
            raise Failure(f"{line}: {answer}")
        return answer

    def launch(self, slot, command, running=True, **numbers):
        number, self.next = self.next, self.next + 1
        self.say(f"launch {number} {slot} " + " ".join(f"{k}={v}" for k, v in numbers.items()) + f" -- {command}".replace("\n", " "))
        if running:
            self.state(number, "running")
        return number

    def now(self, number):
        return self.instances.get(number, [{"state": "none"}])[-1]

    def state(self, number, state, seconds=60):
        def reached():
            if state != "exited" and self.now(number)["state"] == "exited":
                raise Failure(f"instance {number} ended: {self.now(number)}")
            return self.now(number) if self.now(number)["state"] == state else None
        return wait_for(f"instance {number} to be {state}", reached, seconds)

    def stop(self, number, grace=0):
        self.say(f"stop {number} {grace}")
        return self.state(number, "exited")

    def sample(self, table, number, seconds=30):
        """The next sample."""
        n = len(table.get(number, []))
        wait_for("a sample", lambda: len(table.get(number, [])) > n, seconds, 0.2)
        return {k: int(v) for k, v in table[number][-1].items()}

    # control groups
    def group(self, controller, slot, number=None):
        root = f"/sys/fs/cgroup/{self.name}" if V2 else f"/sys/fs/cgroup/{controller}/{self.name}"
        return root + (f"/t{slot}" if slot is not None else "") + (f"/{number}" if number else "")

    def read(self, v1, v2, slot, number=None):
        """A control file; v1 as "memory.limit_in_bytes", whose controller is its first word unless it says controller:file."""
        controller, _, name = v1.partition(":") if ":" in v1 else (v1.split(".")[0], "", v1)
        with open(self.group(controller, slot, number) + "/" + (v2 if V2 else name)) as f:
            return f.read().strip()

    def memory_max(self, slot, number=None):
        return int(self.read("memory.limit_in_bytes", "memory.max", slot, number))

    def memory(self, slot, number=None):
        return int(self.read("memory.usage_in_bytes", "memory.current", slot, number))

    def quota(self, slot, number=None):
        return int(self.read("cpu.cfs_quota_us", "cpu.max", slot, number).split()[0])

    def cpu_seconds(self, slot, number=None):
        text = self.read("cpuacct:cpuacct.usage", "cpu.stat", slot, number)
        return int(text.split()[1]) / 1e6 if V2 else int(text) / 1e9

    def pids(self, slot, number):
        return [int(p) for p in self.read("pids:cgroup.procs", "cgroup.procs", slot, number).split()]

    def groups(self):
        """All groups of this node, without the hierarchies' paths."""
        found = set()
        for root in [f"/sys/fs/cgroup/{self.name}"] if V2 else [f"/sys/fs/cgroup/{c}/{self.name}" for c in CONTROLLERS]:
            for d, _, _ in os.walk(root):
                found.add(os.path.relpath(d, os.path.dirname(root)))
        return found

    def die(self):
        self.process.stdin.write("die\n")
        self.process.stdin.flush()
        self.process.wait(20)

    def end(self):
        """Stops everything; what it said last."""
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)
            self.thread.join(10)
        return self.answers[-1] if self.answers else None

    def cleanup(self):
        try:
            if os.path.isdir(self.dir + "/run") and (self.process is None or self.process.poll() is not None):
                self.start()
            self.end()
        except Exception:
            if self.process and self.process.poll() is None:
                self.process.kill()
        for group in sorted(self.groups(), key=len, reverse=True):
            for root in ("/sys/fs/cgroup",) if V2 else [f"/sys/fs/cgroup/{c}" for c in CONTROLLERS]:
                try:
                    for p in open(f"{root}/{group}/cgroup.procs").read().split():
                        os.kill(int(p), 9)
                    time.sleep(0.05)
                    os.rmdir(f"{root}/{group}")
                except OSError:
                    pass
        shutil.rmtree(self.dir, ignore_errors=True)
