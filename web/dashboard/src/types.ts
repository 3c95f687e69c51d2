// The shapes of the API, as web/api/README.md and web/api/ops.h give them. What a node may leave out is optional:
// the page shows a dash for it instead of failing.

export type Role = 'operator' | 'fleet' | 'admin' | 'deployer' | 'reader';

export interface Whoami {
	role: Role;
	tenant: string | null;
	token_id?: number | string;
}

export interface List<T> {
	items: T[];
	next?: string | null;
}

export type AppState = 'running' | 'degraded' | 'starting' | 'deploying' | 'crashed' | 'stopped' | 'empty' | 'paused';
export const APP_STATES: readonly AppState[] = [
	'crashed',
	'degraded',
	'deploying',
	'starting',
	'running',
	'paused',
	'stopped',
	'empty',
];

export interface AppStats {
	state?: string;
	instances_running?: number;
	instances_healthy?: number; // of those that run
	instances_wanted?: number;
	waiting?: string | null; // why not all that are wanted run
	memory_bytes?: number;
	cpu_cores?: number;
	requests_total?: number;
	requests_per_second?: number;
	p50_ms?: number | null;
	p99_ms?: number | null;
	status?: Record<string, number>;
	bytes_in?: number;
	bytes_out?: number;
}

export interface ReleaseRef {
	version: number;
	created_at?: string;
	note?: string;
}

/** Of one instance. A rate of 0 is not limited here. */
export interface Limits {
	memory_bytes?: number;
	swap_bytes?: number;
	disk_bytes?: number;
	inodes?: number;
	cpu?: number;
	cpu_burst?: number;
	cpu_weight?: number;
	pids?: number;
	nofile?: number;
	io_weight?: number;
	io_read_rate?: number;
	io_write_rate?: number;
	net_in_rate?: number;
	net_out_rate?: number;
	net_packets_rate?: number;
	log_rate?: number;
}

export interface Egress {
	mode: 'none' | 'public' | 'list';
	allow?: string[];
}

export interface App {
	name: string;
	tenant: string;
	url?: string;
	created_at?: string;
	state: AppState;
	empty?: string | null; // why there is no release: "never deployed", "building", "build failed", "deploy failed"
	release: ReleaseRef | null;
	candidate?: ReleaseRef | null;
	limits?: Limits;
	limits_own?: boolean;
	profile?: string;
	egress?: Egress;
	egress_effective?: Egress & { why?: string | null };
	health_path?: string;
	paused?: boolean;
	https?: string;
	hsts?: number;
	serving?: Serving;
	formation?: Record<string, number>;
	stats?: AppStats;
	git_url?: string;
}

export interface Release extends ReleaseRef {
	state: 'pending' | 'live' | 'failed' | 'retired';
	build?: number | string;
	types?: Record<string, string>;
}

export interface Build {
	id: number | string;
	state: 'running' | 'succeeded' | 'failed';
	source?: string;
	commit?: string;
	buildpack?: string;
	error?: string;
	size_bytes?: number;
	created_at?: string;
	finished_at?: string | null;
}

export interface Instance {
	id: string;
	type: string;
	release: number;
	state: string;
	address?: string;
	port?: number;
	pid?: number;
	memory_bytes?: number;
	memory_limit_bytes?: number;
	cpu_seconds?: number;
	pids?: number;
	started_at?: string | null;
	start_us?: number;
	restarts?: number;
	reason?: string;
	pending?: string | null; // what its start waits for, or why its new limit does not hold yet
	throttle?: Throttle | null;
}

/** It yields to others, or goes before them, while the node has more work than CPUs. */
export interface Throttle {
	state: 'slowed' | 'boosted';
	weight?: number;
	cpu?: number | null;
	since?: string | null;
	used_cpu?: number;
	fair_cpu?: number;
	reason?: string;
}

export interface Event {
	id: number | string;
	time: string;
	kind: string;
	tenant?: string | null;
	app?: string | null;
	instance?: string | number | null;
	text: string;
}

export interface Domain {
	host: string;
	state?: 'pending' | 'verified';
	record?: { name: string; type: string; value: string };
}

export interface Node {
	name: string;
	version: string;
	eligible: boolean;
	draining: boolean;
	started_at: string;
	cpus: number;
	memory_bytes: number;
	memory_used_bytes: number;
	load?: number[];
	pressure?: { cpu?: number; memory?: number; io?: number };
	throttle?: { mode?: string; contended?: boolean; contended_seconds?: number; slowed?: number; boosted?: number };
	disk_bytes?: number;
	disk_used_bytes?: number;
	apps_disk?: { total_bytes: number; free_bytes: number; percent: number; state: 'ok' | 'high' | 'full' } | null;
	tenants?: number;
	apps: number;
	instances?: { running?: number; starting?: number; wanted?: number };
	apps_by_state?: Record<string, number>;
	capacity?: {
		memory_bytes?: number;
		memory_committed_bytes?: number;
		cpu?: number;
		cpu_committed?: number;
		instances?: number;
	};
	requests_per_second?: number;
	generation?: number | string;
}

export interface History {
	step_seconds: number;
	times: (number | string)[];
	memory_bytes: (number | null)[];
	cpu_cores: (number | null)[];
	requests_per_second: (number | null)[];
}

/** Of a tenant, all its instances together. */
export interface Amounts extends Omit<Limits, 'nofile'> {
	apps?: number;
	instances?: number;
}

export interface Tenant {
	name: string;
	created_at?: string;
	plan?: string | null;
	quota?: Amounts;
	profile?: string;
	private_layers?: boolean;
	egress?: Egress;
	used?: Amounts; // committed: what counts against the quota
	usage?: Amounts & { pending?: string | null }; // in use: what runs really uses; why a lowered quota does not hold yet
}

/** Settings of an app's front door. A limit is null where there is none. */
export interface Front {
	maintenance?: { on?: boolean; text?: string; retry_after?: number; allow?: string[] };
	sticky?: boolean;
	auth?: { realm?: string; users?: string[] } | null;
	allow?: string[];
	limits?: Record<string, number | null>;
}

export interface PathRoute {
	path: string;
	app: string | null;
	strip?: boolean;
}

export interface Serving {
	concurrency?: number;
	drain_seconds?: number;
	rollout?: string;
	access_log?: string;
	hold?: boolean;
}

export interface Canary {
	version: number | 'next' | null;
	weight?: number;
	header?: string;
	instances?: number;
	state?: 'waiting' | 'starting' | 'serving' | 'promoting' | null;
	stats?: {
		running?: number;
		since?: string;
		requests?: number;
		errors?: number;
		live_requests?: number;
		live_errors?: number;
	} | null;
}

export interface Quantiles {
	count?: number;
	p50_ms?: number;
	p95_ms?: number;
	p99_ms?: number;
}

export interface LatencyOf {
	seconds?: number;
	requests?: number;
	status?: Record<string, number>;
	duration?: Quantiles | null;
	upstream?: Quantiles | null;
	queue?: Quantiles | null;
}

export interface Latency {
	recent?: LatencyOf;
	total?: LatencyOf;
	refused?: Record<string, number>;
}

export interface Talker {
	name: string;
	tenant?: string | null;
	requests?: number;
	bytes?: number;
	seconds?: number;
	errors?: number;
	share?: number;
	uncertain?: number;
}

export interface Talkers {
	by: string;
	seconds: number;
	requests: number;
	bytes?: number;
	request_seconds?: number;
	errors?: number;
	sampled?: number;
	workers_missing?: number;
	clients?: Talker[];
	paths?: Talker[];
	hosts?: Talker[];
	statuses?: Talker[];
	agents?: Talker[];
	apps?: Talker[];
	tenants?: Talker[];
}

/** One of an app's hosts, and what certificate it has. */
export interface HostCertificate {
	host: string;
	state?: string;
	origin?: string | null;
	certificate?: string | null;
	not_after?: string | null;
	next_try?: string | null;
	error?: string | null;
}

export interface Certificate {
	id: string;
	names?: string[];
	origin?: string;
	issuer?: string;
	not_after?: string | null;
	/** null without a responder; none: not known yet. */
	ocsp?: { status?: 'good' | 'revoked' | 'none'; stapled?: boolean; error?: string | null } | null;
	app?: string | null;
	tenant?: string | null;
}
