// A node that is not there: the API's shapes with made-up figures, to work on the page and to test it in a browser.
// Development only; nothing of it reaches the program.  node mock/server.mjs [port] ; tokens: operator, acme, reader.
import http from 'node:http';
import { readFileSync, existsSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { randomBytes } from 'node:crypto';

const PORT = Number(process.argv[2] ?? 8099);
const DIST = process.env.DASHBOARD_OUT ?? 'dist';
const COUNT = Number(process.env.MOCK_APPS ?? 500);
const CSP = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const MIB = 1 << 20;
const began = Date.now();
const iso = (ms) => new Date(ms).toISOString();
let seed = 7;
const rnd = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) / 0x7fffffff;

const HOSTILE = '<img src=x onerror=alert(1)> \u202Eevil\u202C \u001b[31mred\u001b[0m ' + 'long'.repeat(60);
const TENANTS = [
	'acme',
	'globex',
	'initech',
	'umbrella',
	'hooli',
	'stark',
	'wayne',
	'tyrell',
	'cyberdyne',
	'soylent',
	'wonka',
	'aperture',
	'massive-dynamic',
	'oscorp',
];
const NAMES = ['shop', 'blog', 'api', 'admin', 'docs', 'status', 'search', 'mail', 'chat', 'wiki', 'feed', 'pay'];
const apps = new Map();
const events = [];
const followers = new Set();

function event(kind, app, text) {
	const e = {
		id: events.length + 1,
		time: iso(Date.now()),
		kind,
		tenant: app?.tenant ?? null,
		app: app?.name ?? null,
		instance: null,
		text,
	};
	events.push(e);
	for (const f of followers) if (!f.tenant || f.tenant === e.tenant) if (!f.app || f.app === e.app) sse(f.res, e);
}
const sse = (res, e) => res.write(`id: ${e.id}\nevent: ${e.kind}\ndata: ${JSON.stringify(e)}\n\n`);

function makeApp(name, tenant, state) {
	const wanted = state === 'empty' || state === 'stopped' || state === 'paused' ? 0 : 1 + Math.floor(rnd() * rnd() * 4);
	const run = state === 'crashed' ? 0 : state === 'starting' ? wanted - 1 : wanted;
	const rel = state === 'empty' ? 0 : 1 + Math.floor(rnd() * 20);
	const rps = run ? Math.round(rnd() ** 6 * 4000) / 10 : 0;
	const app = {
		name,
		tenant,
		state,
		url: `http://${name}.localhost:8080`,
		created_at: iso(began - rnd() * 9e9),
		release: rel
			? {
					version: rel,
					created_at: iso(began - rnd() * 9e8),
					note: `Deploy ${randomBytes(4).toString('hex').slice(0, 7)}`,
				}
			: null,
		candidate: state === 'deploying' ? { version: rel + 1, created_at: iso(began), note: 'Deploy 77aa01c' } : null,
		limits: {
			memory_bytes: 256 * MIB,
			swap_bytes: 0,
			disk_bytes: 1024 * MIB,
			inodes: 16384,
			cpu: 0.5,
			pids: 128,
			nofile: 4096,
			net_in_rate: 64 * MIB,
			net_out_rate: 0,
			net_packets_rate: 20000,
		},
		limits_own: false,
		profile: 'default',
		egress: { mode: 'public' },
		health_path: '',
		paused: state === 'paused',
		formation: { web: wanted, worker: 0 },
		git_url: `http://tulou.localhost:8080/git/${name}.git`,
		stats: {
			state,
			instances_running: run,
			instances_wanted: wanted,
			memory_bytes: run * (20 + rnd() * 180) * MIB,
			cpu_cores: run * rnd() ** 4 * 0.5,
			requests_total: Math.round(rps * 86400),
			requests_per_second: rps,
			p50_ms: rps ? 2 + rnd() * 9 : null,
			p99_ms: rps ? 12 + rnd() ** 3 * 900 : null,
			status: { '2xx': Math.round(rps * 80000), '3xx': 90, '4xx': Math.round(rps * 900), '5xx': Math.round(rps * 4) },
			bytes_in: 1e6,
			bytes_out: 9e8,
		},
	};
	app.config = { DATABASE_URL: 'postgres://shop:hunter2@db/shop', LOG_LEVEL: 'info', SECRET_KEY: HOSTILE };
	app.domains = [
		{ host: `${name}.example.com`, state: 'verified' },
		{ host: `new.${name}.example.com`, state: 'verified' },
		{ host: `wait.${name}.example.com`, state: 'pending', record: { name: `_tulou.wait.${name}.example.com`, type: 'TXT', value: 'tulou-3f9a77b2c0d1e5f6' } },
	];
	app.serving = { concurrency: 0, drain_seconds: 0, rollout: 'auto', access_log: 'off', hold: false };
	app.https = 'redirect';
	app.hsts = 31536000;
	app.front =
		name === 'shop'
			? {
					maintenance: { on: false, text: '', retry_after: 300, allow: [] },
					sticky: true,
					auth: { realm: '', users: ['anna', 'ben', HOSTILE.slice(0, 40)] },
					allow: ['203.0.113.0/24', '2001:db8::/32'],
					limits: { requests_per_second: 500, burst: null, client_requests_per_second: 20, client_burst: 40, concurrent: null, body_bytes: 10 << 20, seconds: 30 },
				}
			: { maintenance: { on: false }, sticky: false, auth: null, allow: [], limits: {} };
	app.canary =
		name === 'shop'
			? {
					version: Math.max(1, rel),
					weight: 10,
					header: 'X-Canary=yes',
					instances: 1,
					state: 'serving',
					stats: { running: 1, since: iso(began - 9e5), requests: 11840, errors: 710, live_requests: 106230, live_errors: 35 },
				}
			: { version: null, weight: 0, header: '', instances: 0, state: null, stats: null };
	app.builds = rel
		? [
				{
					id: rel * 10,
					state: state === 'crashed' ? 'failed' : 'succeeded',
					source: 'git',
					commit: randomBytes(20).toString('hex'),
					buildpack: 'node',
					error: state === 'crashed' ? 'npm ci: package-lock.json and package.json do not agree ' + HOSTILE : '',
					size_bytes: 41e6,
					created_at: iso(began - 6e5),
					finished_at: iso(began - 5e5),
				},
			]
		: [];
	app.releases = Array.from({ length: rel }, (_, i) => ({
		version: i + 1,
		state: i + 1 === rel ? 'live' : i % 5 === 3 ? 'failed' : 'retired',
		note:
			i === rel - 3
				? HOSTILE
				: i % 4 === 1
					? 'Set config LOG_LEVEL'
					: `Deploy ${randomBytes(4).toString('hex').slice(0, 7)}`,
		build: i,
		types: { web: 'node server.js --port $PORT', worker: 'node worker.js' },
		created_at: iso(began - (rel - i) * 8e7),
	}));
	app.instances = () =>
		Array.from({ length: app.state === 'crashed' ? 1 : app.stats.instances_running }, (_, i) => ({
			id: String(1000 + i),
			type: i > 2 ? 'worker' : 'web',
			release: rel,
			state: app.state === 'crashed' ? 'exited' : 'running',
			address: `10.94.0.${i + 2}`,
			port: 8080,
			pid: 4000 + i,
			memory_bytes: (app.stats.memory_bytes || MIB) / Math.max(1, app.stats.instances_running),
			memory_limit_bytes: 256 * MIB,
			cpu_seconds: 12.5 * (i + 1),
			pids: 11,
			started_at: iso(began - 36e5 * (i + 1)),
			start_us: 2400,
			throttle:
				app.state === 'running' && i === 2
					? { state: 'slowed', weight: 1, cpu: null, reason: 'it wants more than its fair share of 0.42 CPU cores while others wait' }
					: null,
			restarts: app.state === 'crashed' ? 6 : 0,
			reason:
				app.state === 'crashed'
					? 'exited with code 1 two seconds after its start: Error: Cannot find module ' + HOSTILE.slice(0, 60)
					: '',
		}));
	apps.set(name, app);
	return app;
}

makeApp('shop', 'acme', 'running').stats.instances_running = 3;
apps.get('shop').formation = { web: 3, worker: 1 };
Object.assign(apps.get('shop').stats, {
	waiting: '1 of 4 web does not fit: tenant acme: memory quota 16 GiB, 15.9 GiB committed, 100 MiB left, 256 MiB needed',
	instances_wanted: 4,
	instances_running: 4,
	memory_bytes: 612 * MIB,
	cpu_cores: 0.43,
	requests_per_second: 118.2,
	p50_ms: 3.8,
	p99_ms: 46,
	requests_total: 8234121,
	status: { '2xx': 990000, '3xx': 800, '4xx': 8000, '5xx': 310 },
});
makeApp('broken', 'acme', 'crashed');
makeApp('fresh', 'acme', 'empty');
makeApp('rolling', 'acme', 'deploying');
for (let i = apps.size; i < COUNT; i++) {
	const t = TENANTS[Math.floor(rnd() ** 2 * TENANTS.length)];
	const r = rnd();
	makeApp(
		`${NAMES[i % NAMES.length]}-${t.slice(0, 4)}-${i}`,
		t,
		r < 0.01
			? 'crashed'
			: r < 0.02
				? 'paused'
				: r < 0.03
					? 'starting'
					: r < 0.06
						? 'empty'
						: r < 0.08
							? 'stopped'
							: 'running',
	);
}
event('node.started', null, 'The node started.');
event('deploy.succeeded', apps.get('shop'), 'v12 is live: 3 of 3 web instances are healthy.');
event('instance.oom', apps.get('broken'), 'web #1000 used all of its 256 MiB and was killed; the peak was 256 MiB.');
event('build.failed', apps.get('rolling'), HOSTILE);

function history(minutes, scale) {
	const step = 10;
	const n = minutes * 6;
	const now = Math.floor(Date.now() / 10000) * 10;
	const at = Array.from({ length: n }, (_, i) => now - (n - 1 - i) * step);
	const wave = (t, k) => 0.5 + 0.28 * Math.sin(t / (600 * k)) + 0.12 * Math.sin(t / 97) + 0.08 * Math.sin(t / 31 + k);
	return {
		step_seconds: step,
		times: at.map((t) => iso(t * 1000)),
		memory_bytes: at.map((t) => (0.5 + wave(t, 3) * 0.3) * scale.memory),
		cpu_cores: at.map((t) => wave(t, 1) * scale.cpu),
		requests_per_second: at.map((t) => wave(t, 1.3) * scale.rps),
	};
}

const quantiles = (n, ms) => (n ? { count: n, p50_ms: ms, p95_ms: ms * 4.1, p99_ms: ms * 11.7 } : null);
const fare = (n, seconds) => ({
	seconds,
	requests: n,
	status: { none: 2, '1xx': 0, '2xx': Math.round(n * 0.93), '3xx': Math.round(n * 0.02), '4xx': Math.round(n * 0.047), '5xx': Math.round(n * 0.003) },
	duration: quantiles(n, 3.8),
	upstream: quantiles(n, 3.1),
	queue: quantiles(Math.round(n / 90), 12),
});
const talkerRows = (names, n, more = {}) =>
	names.map((name, i) => {
		const part = 0.41 / (i + 1) ** 1.2;
		return { name, ...more, requests: Math.round(n * part), bytes: Math.round(n * part * 9000), seconds: n * part * 0.004, errors: i === 1 ? Math.round(n * part * 0.3) : 0, share: part, uncertain: 0.004 };
	});
function talkers(res, q, kinds) {
	const n = 5910;
	setTimeout(
		() => json(res, { by: q.get('by'), seconds: 5, requests: n, bytes: n * 9000, request_seconds: 23, errors: 280, sampled: 4400, workers: 4, workers_missing: 0, ...kinds(n) }),
		Number(process.env.MOCK_LOOK_MS ?? 600),
	);
}

const sum = (f) => [...apps.values()].reduce((n, a) => n + (f(a) || 0), 0);
function node() {
	const by = {};
	for (const a of apps.values()) by[a.state] = (by[a.state] ?? 0) + 1;
	const w = sum((a) => a.stats.instances_wanted);
	return {
		name: 'node-1',
		version: '0.1.0',
		eligible: true,
		draining: false,
		started_at: iso(began - 275e6),
		cpus: 16,
		memory_bytes: 32768 * MIB,
		memory_used_bytes: sum((a) => a.stats.memory_bytes) * 0.3,
		load: [3.21, 2.87, 2.6],
		pressure: { cpu: 4.2, memory: 0, io: 12.1 },
		disk_bytes: 512e9,
		disk_used_bytes: 187e9,
		apps_disk: { total_bytes: 20e9, free_bytes: 1.6e9, percent: 92, state: 'full' },
		tenants: TENANTS.length,
		apps: apps.size,
		instances: { running: sum((a) => a.stats.instances_running), starting: 3, wanted: w },
		apps_by_state: by,
		capacity: {
			memory_bytes: 32768 * MIB,
			memory_committed_bytes: 26000 * MIB,
			cpu: 64,
			cpu_committed: 41.5,
			instances: 2000,
		},
		requests_per_second: sum((a) => a.stats.requests_per_second) * (0.9 + Math.random() * 0.2),
		generation: 42,
	};
}
const tenant = (name) => {
	const mine = [...apps.values()].filter((a) => a.tenant === name);
	const s = (f) => mine.reduce((n, a) => n + (f(a) || 0), 0);
	return {
		name,
		created_at: iso(began - 9e9),
		plan: 'hobby',
		profile: 'default',
		private_layers: false,
		egress: { mode: 'list', allow: ['203.0.113.0/24:443'] },
		quota: { memory_bytes: 16384 * MIB, cpu: 8, pids: 4096, apps: 120, instances: 300, disk_bytes: 20e9, inodes: 4e6 },
		usage: { memory_bytes: s((a) => a.stats.memory_bytes) * 0.6, cpu: s((a) => a.stats.cpu_cores), pids: 60, instances: s((a) => a.stats.instances_running), disk_bytes: 2.9e9, inodes: 81920, pending: 'memory: 9.1 GiB in use is more than the new 8 GiB; it holds as soon as that is freed or the instances restart' },
		used: {
			memory_bytes: s((a) => a.stats.memory_bytes),
			cpu: s((a) => a.stats.cpu_cores),
			pids: 90,
			apps: mine.length,
			instances: s((a) => a.stats.instances_running),
			disk_bytes: 3.2e9,
			inodes: 163840,
		},
	};
};

const sessions = new Map();
const ROLES = {
	operator: { role: 'operator', tenant: null, token_id: 1 },
	acme: { role: 'admin', tenant: 'acme', token_id: 2 },
	reader: { role: 'reader', tenant: 'acme', token_id: 3 },
};
const problem = (res, status, detail, field) => {
	res.writeHead(status, { 'Content-Type': 'application/problem+json' });
	res.end(JSON.stringify({ type: 'about:blank', title: http.STATUS_CODES[status], status, detail, field }));
};
const json = (res, v, status = 200) => {
	res.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache' });
	res.end(JSON.stringify(v));
};
function paged(res, items, q) {
	const limit = Math.min(200, Number(q.get('limit') ?? 100));
	const from = Number(q.get('after') ?? 0);
	json(res, {
		items: items.slice(from, from + limit),
		next: from + limit < items.length ? String(from + limit) : null,
	});
}

function eventsOf(req, res, q, who, app) {
	const after = q.get('after');
	const mine = events.filter(
		(e) => (!who.tenant || e.tenant === who.tenant) && (!app || e.app === app.name) && e.id > Number(after ?? 0),
	);
	if (!q.get('follow')) return json(res, { items: mine.slice(-Number(q.get('limit') ?? 100)), next: null });
	res.writeHead(200, { 'Content-Type': 'text/event-stream' });
	res.write(': hello\n\n');
	mine.forEach((e) => sse(res, e));
	const f = { res, tenant: who.tenant, app: app?.name };
	followers.add(f);
	res.on('close', () => followers.delete(f));
}

function logsOf(req, res, app) {
	res.writeHead(200, { 'Content-Type': 'text/event-stream' });
	let n = 0;
	const line = () =>
		res.write(
			`data: ${iso(Date.now())} web.${1000 + (n % 3)} ${n++ % 23 === 7 ? HOSTILE : `GET /products/${n} 200 ${3 + (n % 40)}ms`}\n\n`,
		);
	for (let i = 0; i < 60; i++) line();
	const t = setInterval(() => {
		for (let i = 0; i < Number(process.env.MOCK_LINES ?? 1); i++) line();
	}, 500);
	res.on('close', () => clearInterval(t));
}

async function api(req, res, url, body) {
	const q = url.searchParams;
	const p = url.pathname.split('/').slice(2).map(decodeURIComponent);
	const sid = /tulou_session=(\w+)/.exec(req.headers.cookie ?? '')?.[1];
	const route = `${req.method} ${p[0]}`;
	if (route === 'POST session') {
		if (!ROLES[body.token]) return problem(res, 401, 'The token is not known.');
		const id = randomBytes(8).toString('hex');
		sessions.set(id, ROLES[body.token]);
		res.writeHead(204, { 'Set-Cookie': `tulou_session=${id}; HttpOnly; SameSite=Strict; Path=/` });
		return res.end();
	}
	const who = sessions.get(sid);
	if (!who) return problem(res, 401, 'No session.');
	if (route === 'DELETE session') {
		sessions.delete(sid);
		res.writeHead(204);
		return res.end();
	}
	if (p[0] === 'whoami') return json(res, who);
	if (p[0] === 'node' && p[1] === 'talkers' && !who.tenant)
		return talkers(res, q, (n) => ({
			apps: talkerRows(['shop', '@unknown', 'blog-acme-12', '@control'], n, { tenant: 'acme' }),
			tenants: talkerRows(['acme', 'globex'], n),
			clients: talkerRows(['203.0.113.7', '2001:db8:1:2::/64', '198.51.100.3'], n),
			hosts: talkerRows(['shop.example.com', HOSTILE.slice(0, 60)], n),
			statuses: talkerRows(['2xx', '4xx', '5xx'], n),
		}));
	if (p[0] === 'node' && p[1] === 'certificates' && !who.tenant)
		return json(res, {
			items: [
				{ id: '3', names: ['shop.example.com', 'www.shop.example.com'], origin: 'uploaded', app: 'shop', tenant: 'acme', not_after: iso(began + 1.7e8) },
				{ id: '9', names: ['*.apps.example.com'], origin: 'acme', app: null, tenant: null, not_after: iso(began + 1.4e9) },
			],
			next: null,
		});
	if (p[0] === 'node')
		return who.tenant
			? problem(res, 404, 'Not found.')
			: json(res, p[1] ? history(Number(q.get('minutes') ?? 60), { memory: 26000 * MIB, cpu: 7, rps: 9000 }) : node());
	if (p[0] === 'tenants') return p[1] ? json(res, tenant(p[1])) : paged(res, TENANTS.map(tenant), q);
	if (p[0] === 'events') return eventsOf(req, res, q, who);
	if (p[0] !== 'apps') return problem(res, 404, 'Not found.');
	if (!p[1] && req.method === 'POST') {
		if (!/^[a-z][a-z0-9-]{0,39}$/.test(body.name ?? ''))
			return problem(res, 400, `name: "${body.name}" is not small letters, digits and hyphens`, 'name');
		return json(res, makeApp(body.name, body.tenant ?? who.tenant, 'empty'), 201);
	}
	const show = ({ config, domains, builds, releases, instances, front, canary, ...rest }) => rest;
	if (!p[1]) return paged(res, [...apps.values()].filter((a) => [undefined, a.tenant].includes(who.tenant ?? q.get('tenant') ?? undefined)).map(show), q);
	const app = apps.get(p[1]);
	if (!app || (who.tenant && app.tenant !== who.tenant)) return problem(res, 404, 'There is no such app.');
	if (req.method !== 'GET' && who.role === 'reader') return problem(res, 403, 'A reader may not change this.');
	switch (`${req.method} ${p[2] ?? ''}`) {
		case 'GET ':
			return json(res, show(app));
		case 'PATCH ':
			if (body.serving) {
				Object.assign(app.serving, body.serving);
				return json(res, show(app));
			}
			app.paused = body.paused;
			app.state = body.paused ? 'paused' : 'running';
			event('app.changed', app, body.paused ? 'Paused.' : 'Resumed.');
			return json(res, show(app));
		case 'GET instances':
			return json(res, { items: app.instances() });
		case 'DELETE instances':
			res.writeHead(204);
			return res.end();
		case 'GET releases':
			return paged(res, app.releases, q);
		case 'GET builds':
			if (p[4] === 'log') {
				res.writeHead(200, { 'Content-Type': 'text/plain' });
				return res.end('-----> Node.js app detected\n');
			}
			return paged(res, app.builds, q);
		case 'POST rollback': {
			const v = app.releases.length + 1;
			app.releases.forEach((r) => {
				if (r.state === 'live') r.state = 'retired';
			});
			app.releases.push({
				...app.releases[body.version - 1],
				version: v,
				state: 'live',
				note: `Rollback to v${body.version}`,
				created_at: iso(Date.now()),
			});
			app.release = app.releases[v - 1];
			event('deploy.succeeded', app, `v${v} is live.`);
			return json(res, app.release, 202);
		}
		case 'GET config':
			return json(res, app.config);
		case 'PATCH config':
			for (const [k, v] of Object.entries(body)) {
				if (!/^[A-Za-z_]\w*$/.test(k))
					return problem(res, 400, `config: "${k}" is not a name of letters, digits and _`, k);
				if (v === null) delete app.config[k];
				else app.config[k] = v;
			}
			return json(res, app.config);
		case 'GET formation':
			return json(res, app.formation);
		case 'PUT formation':
			if (body.web > 20)
				return problem(
					res,
					422,
					`formation.web: ${body.web} instances need more than the tenant's quota leaves (20)`,
					'web',
				);
			app.formation = body;
			app.stats.instances_wanted = app.stats.instances_running = Object.values(body).reduce((a, b) => a + b, 0);
			event('formation.changed', app, JSON.stringify(body));
			return json(res, body);
		case 'POST restart':
			event('instance.started', app, 'Restarting.');
			return json(res, {}, 202);
		case 'GET domains':
			return json(res, { items: app.domains, next: null });
		case 'POST domains':
			if (!/^[a-z0-9.-]+\.[a-z]+$/.test(body.host))
				return problem(res, 400, `host: "${body.host}" is not a host name`, 'host');
			app.domains.push(body);
			return json(res, body, 201);
		case 'DELETE domains':
			app.domains = app.domains.filter((d) => d.host !== p[3]);
			res.writeHead(204);
			return res.end();
		case 'GET front':
			return json(res, app.front);
		case 'PATCH front':
			app.front.maintenance = { ...app.front.maintenance, ...body.maintenance };
			return json(res, app.front);
		case 'GET routes':
			return json(res, { items: app.name === 'shop' ? [{ path: '/api', app: 'broken', strip: true }, { path: '/old', app: null, strip: false }] : [], next: null });
		case 'GET canary':
			return json(res, app.canary);
		case 'PUT canary':
			if (!(body.weight >= 0 && body.weight <= 100)) return problem(res, 400, `weight: ${body.weight} is outside 0..100`, 'weight');
			app.canary = { ...app.canary, version: body.version, weight: body.weight, header: app.canary.header ?? '', instances: 1, state: body.version === 'next' ? 'waiting' : 'serving' };
			return json(res, app.canary);
		case 'DELETE canary':
			app.canary = { version: null, weight: 0, header: '', instances: 0, state: null, stats: null };
			res.writeHead(204);
			return res.end();
		case 'POST canary':
			app.canary = { ...app.canary, state: 'promoting' };
			return json(res, {}, 202);
		case 'GET latency': {
			const n = Math.round(app.stats.requests_per_second * 250);
			return json(res, { recent: fare(n, 250), total: fare(app.stats.requests_total, undefined), refused: app.name === 'shop' ? { 'auth-required': 31, 'client-rate': 1240, 'address-refused': 0 } : {} });
		}
		case 'GET talkers':
			return talkers(res, q, (n) => ({
				clients: talkerRows(['203.0.113.7', '2001:db8:1:2::/64', '198.51.100.3', '192.0.2.44'], n),
				paths: talkerRows(['/products/', '/cart/items/', '/<img src=x>', '/' + 'long'.repeat(14)], n),
				hosts: talkerRows(['shop.example.com', 'shop.localhost'], n),
				statuses: talkerRows(['2xx', '4xx', '5xx', 'none'], n),
			}));
		case 'GET certificates':
			return json(res, {
				items: [{ id: '7', names: [`${app.name}.example.com`], origin: 'acme', not_after: iso(began + 5e9), ocsp: { status: 'good', stapled: true, error: null } }],
				hosts: [
					{ host: `${app.name}.localhost`, state: 'none', origin: null },
					{ host: `${app.name}.example.com`, state: 'issued', origin: 'acme', certificate: '7', not_after: iso(began + 5e9) },
					{ host: `new.${app.name}.example.com`, state: 'failed', origin: null, next_try: iso(Date.now() + 7.2e6), error: 'the authority could not reach the host: ' + HOSTILE },
				],
				next: null,
			});
		case 'POST certificates':
			return json(res, { hosts: [] });
		case 'GET logs':
			return logsOf(req, res, app);
		case 'GET events':
			return eventsOf(req, res, q, who, app);
		case 'GET metrics':
			return json(
				res,
				history(Number(q.get('minutes') ?? 60), { memory: app.stats.memory_bytes || 1, cpu: 0.9, rps: 180 }),
			);
		default:
			return problem(res, 405, 'Not allowed.');
	}
}

const TYPES = {
	'.html': 'text/html; charset=utf-8',
	'.js': 'text/javascript',
	'.css': 'text/css',
	'.svg': 'image/svg+xml',
};
http
	.createServer((req, res) => {
		const url = new URL(req.url, 'http://x');
		res.setHeader('Content-Security-Policy', CSP);
		res.setHeader('X-Content-Type-Options', 'nosniff');
		if (url.pathname.startsWith('/v1/')) {
			let text = '';
			req.on('data', (c) => (text += c));
			req.on('end', () => api(req, res, url, text ? JSON.parse(text) : {}).catch((e) => problem(res, 500, String(e))));
			return;
		}
		let file = join(DIST, normalize(url.pathname));
		if (!extname(file)) file = join(DIST, 'index.html');
		if (!existsSync(file)) return problem(res, 404, 'Not found.');
		res.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream' });
		res.end(readFileSync(file));
	})
	.listen(PORT, '127.0.0.1', function () {
		console.log(`mock node: http://127.0.0.1:${this.address().port}/  tokens: ${Object.keys(ROLES).join(', ')}`);
	});

setInterval(() => {
	for (const a of apps.values())
		if (a.stats.requests_per_second)
			a.stats.requests_per_second = Math.max(0.1, a.stats.requests_per_second * (0.95 + Math.random() * 0.1));
	event(
		'instance.started',
		[...apps.values()][Math.floor(Math.random() * apps.size)],
		'web #' + Math.floor(Math.random() * 9999) + ' is healthy.',
	);
}, 4000).unref();
