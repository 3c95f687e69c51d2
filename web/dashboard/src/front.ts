// What the front door does for an app, in words; which answers it gave. Pure.
import { bytes, count, visible } from './format';
import type { App, Canary, Front } from './types';

export interface Fact {
	name: string;
	text: string;
	/** It is not as it is for any other app: worth a look. */
	set: boolean;
}

const number = (v: number | null | undefined, unit: string): string => (v ? `${count(v)} ${unit}` : '');

function limitWords(l: Record<string, number | null>): string {
	const burst = (n: number | null | undefined): string => (n ? ` (burst ${count(n)})` : '');
	return [
		l.requests_per_second && number(l.requests_per_second, 'requests/s') + burst(l.burst),
		l.client_requests_per_second && number(l.client_requests_per_second, 'requests/s of one address') + burst(l.client_burst),
		number(l.concurrent, 'at a time'),
		l.body_bytes && `bodies up to ${bytes(l.body_bytes)}`,
		l.seconds && `${count(l.seconds)} s for a request`,
	]
		.filter(Boolean)
		.join(', ');
}

const SHOWN = 4;
function some(list: readonly string[]): string {
	const more = list.length - SHOWN;
	return list.slice(0, SHOWN).map((s) => visible(s, 60)).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

export function frontFacts(front: Front, app: App): Fact[] {
	const m = front.maintenance ?? {};
	const limits = limitWords(front.limits ?? {});
	const users = front.auth?.users ?? [];
	const s = app.serving ?? {};
	return [
		{
			name: 'Maintenance',
			text: m.on ? `visitors see a page${m.allow?.length ? `, except from ${some(m.allow)}` : ''}` : 'off',
			set: Boolean(m.on),
		},
		{ name: 'Hold', text: s.hold ? 'requests wait until it is resumed' : 'off', set: Boolean(s.hold) },
		{
			name: 'Asks for a name',
			text: front.auth ? (users.length ? some(users) : 'yes, but nobody has one') : 'no',
			set: Boolean(front.auth),
		},
		{ name: 'Serves', text: front.allow?.length ? `only ${some(front.allow)}` : 'any address', set: Boolean(front.allow?.length) },
		{ name: 'Limits', text: limits || 'none', set: limits !== '' },
		{ name: 'Sticky clients', text: front.sticky ? 'yes, by a cookie' : 'no', set: Boolean(front.sticky) },
		{
			name: 'https',
			text: `${app.https === 'redirect' ? 'http is redirected to it' : (app.https ?? 'on')}${app.hsts ? ', HSTS' : ''}`,
			set: app.https === 'off',
		},
		{
			name: 'One instance has',
			text: s.concurrency ? `${count(s.concurrency)} requests at a time` : 'any number of requests',
			set: Boolean(s.concurrency),
		},
		{ name: 'Roll-out', text: s.rollout === 'hold' ? 'hold: old stops before new starts' : (s.rollout ?? 'auto'), set: s.rollout === 'hold' },
		{
			name: 'Access log',
			text: s.access_log === 'all' ? 'every request' : !s.access_log || s.access_log === 'off' ? 'off' : `one request of ${s.access_log.replace('1/', '')}`,
			set: false,
		},
	];
}

export function canaryWords(c: Canary): string {
	const n = c.stats?.running ?? 0;
	switch (c.state) {
		case 'waiting':
			return 'The next release that is deployed becomes the canary.';
		case 'starting':
			return 'It is being started; nothing goes to it yet.';
		case 'promoting':
			return 'It is being rolled out.';
		case 'serving':
			return `It serves: ${n} of ${c.instances ?? 1} instances answer.`;
		default:
			return 'No canary: the live release serves all requests.';
	}
}

export const errorShare = (requests: number | undefined, errors: number | undefined): number =>
	requests ? (errors ?? 0) / requests : 0;

/** Is the canary so much worse than what is live that one should look?  Only with enough requests to say so. */
export function canaryWorse(c: Canary): boolean {
	const s = c.stats;
	if (!s || (s.requests ?? 0) < 20) return false;
	return errorShare(s.requests, s.errors) > 2 * errorShare(s.live_requests, s.live_errors) + 0.01;
}

const REFUSALS: Record<string, string> = {
	'ambiguous-path': '400, the path can be read in two ways',
	'address-refused': '403, address not served',
	maintenance: '503, maintenance',
	'auth-required': '401, no or wrong name and password',
	'too-many-guesses': '429, too many wrong passwords',
	'client-rate': '429, rate of one address',
	'app-rate': '429, rate of the app',
	'tenant-rate': '429, rate of the tenant',
	'app-concurrent': '429, requests at a time of the app',
	'tenant-concurrent': '429, requests at a time of the tenant',
	'body-too-large': '413, body too large',
	'time-over': '504, longer than the app allows',
};

/** Refusals that there were, most first. */
export function refusals(of: Record<string, number> | undefined): { key: string; text: string; count: number }[] {
	return Object.entries(of ?? {})
		.filter(([, n]) => n > 0)
		.map(([key, n]) => ({ key, text: REFUSALS[key] ?? visible(key, 40), count: n }))
		.sort((a, b) => b.count - a.count);
}

/** Parts of 100 of the classes of status, in order; those that there were none of are left out. */
export function statusParts(status: Record<string, number> | undefined): { name: string; part: number; count: number }[] {
	const all = Object.values(status ?? {}).reduce((a, b) => a + b, 0);
	return ['2xx', '3xx', '4xx', '5xx', '1xx', 'none']
		.map((name) => ({ name, count: status?.[name] ?? 0, part: all ? ((status?.[name] ?? 0) / all) * 100 : 0 }))
		.filter((x) => x.count > 0);
}
