// What a Node.js server does: worker threads, a child process, names, files, interfaces, code made at run time.
const http = require("http"), fs = require("fs"), os = require("os"), dns = require("dns").promises, path = require("path"), crypto = require("crypto");
const { Worker } = require("worker_threads");
const { execFile } = require("child_process");
const { promisify } = require("util");

const probes = {
    thread: () => new Promise((ok, bad) => new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true }).on("message", (v) => (v === 42 ? ok() : bad(v))).on("error", bad)),
    child: async () => { const { stdout } = await promisify(execFile)("/bin/sh", ["-c", "echo child"]); if (stdout !== "child\n") throw stdout; },
    name: async () => { const a = await dns.lookup("localhost", { family: 4 }); if (a.address !== "127.0.0.1") throw a.address; },
    file: async () => { const d = await fs.promises.mkdtemp(path.join(os.tmpdir(), "t-")); await fs.promises.writeFile(d + "/x", "x"); await fs.promises.rm(d, { recursive: true }); },
    watch: () => new Promise((ok) => { const w = fs.watch("/tmp", () => { w.close(); ok(); }); fs.writeFileSync("/tmp/watched", "x"); }),
    random: async () => { await promisify(crypto.scrypt)("x", "y", 32); },
    code: async () => { let n = 0; for (let i = 0; i < 3e6; i++) n += i & 3; new WebAssembly.Module(Buffer.from([0, 97, 115, 109, 1, 0, 0, 0])); if (n !== 4500000) throw n; },
    system: async () => { if (os.totalmem() <= 0 || os.cpus() === undefined) throw "system"; },
    interfaces: async () => { if (!os.networkInterfaces().eth0) throw "no eth0"; },
};

http.createServer(async (req, res) => {
    if (req.url !== "/probe") return res.end("hello from node " + process.version + "\n");
    let text = "";
    for (const [name, run] of Object.entries(probes))
        try { await run(); text += name + "=ok\n"; } catch (e) { text += name + "=" + String(e).replace(/\n/g, " ") + "\n"; }
    res.end(text);
}).listen(process.env.PORT, "0.0.0.0");
process.on("SIGTERM", () => { console.log("bye"); process.exit(0); });
