import { describe, expect, it } from 'vitest';
import { until } from '../src/format';
import { canaryWords, canaryWorse, frontFacts, refusals, statusParts } from '../src/front';
import type { App, Front } from '../src/types';

const app: App = { name: 'shop', tenant: 'acme', state: 'running', release: null };
const text = (front: Front, more: Partial<App> = {}): Record<string, string> =>
	Object.fromEntries(frontFacts(front, { ...app, ...more }).map((f) => [f.name, f.text]));

describe('front door', () => {
	it('says that nothing is set', () => {
		const facts = frontFacts({}, app);
		expect(facts.every((f) => !f.set)).toBe(true);
		expect(text({})).toMatchObject({ Maintenance: 'off', Limits: 'none', Serves: 'any address', 'Asks for a name': 'no' });
	});
	it('says limits with their units', () => {
		expect(
			text({ limits: { requests_per_second: 500, burst: 900, concurrent: null, body_bytes: 10 << 20, seconds: 30 } }).Limits,
		).toBe('500 requests/s (burst 900), bodies up to 10 MiB, 30 s for a request');
	});
	it('cuts long lists and makes foreign names visible', () => {
		const t = text({ allow: ['1', '2', '3', '4', '5', '6'], auth: { users: ['a\u202Eb'] } });
		expect(t.Serves).toBe('only 1, 2, 3, 4 and 2 more');
		expect(t['Asks for a name']).toBe('a⟨202E⟩b');
	});
	it('tells hold, roll-out and access log', () => {
		const t = text({}, { serving: { hold: true, rollout: 'hold', access_log: '1/50', concurrency: 3 }, https: 'redirect', hsts: 5 });
		expect(t).toMatchObject({
			Hold: 'requests wait until it is resumed',
			'Access log': 'one request of 50',
			'One instance has': '3 requests at a time',
			https: 'http is redirected to it, HSTS',
		});
	});
});

describe('canary', () => {
	it('is said in words', () => {
		expect(canaryWords({ version: null })).toContain('No canary');
		expect(canaryWords({ version: 'next', state: 'waiting' })).toContain('next release');
		expect(canaryWords({ version: 3, state: 'serving', instances: 2, stats: { running: 1 } })).toContain('1 of 2');
	});
	it('is worse only with enough requests, and clearly', () => {
		const c = (requests: number, errors: number) =>
			canaryWorse({ version: 2, stats: { requests, errors, live_requests: 1000, live_errors: 10 } });
		expect(c(19, 19)).toBe(false);
		expect(c(100, 2)).toBe(false);
		expect(c(100, 6)).toBe(true);
		expect(canaryWorse({ version: 2, stats: null })).toBe(false);
	});
});

describe('figures', () => {
	it('lists refusals that there were, most first', () => {
		expect(refusals({ 'auth-required': 3, 'client-rate': 9, maintenance: 0, 'new-one': 1 }).map((r) => r.key)).toEqual([
			'client-rate',
			'auth-required',
			'new-one',
		]);
		expect(refusals(undefined)).toEqual([]);
	});
	it('splits statuses', () => {
		const p = statusParts({ '2xx': 75, '5xx': 25, '4xx': 0 });
		expect(p.map((x) => [x.name, x.part])).toEqual([
			['2xx', 75],
			['5xx', 25],
		]);
		expect(statusParts(undefined)).toEqual([]);
	});
	it('says when a certificate ends', () => {
		const now = Date.parse('2026-01-01T00:00:00Z');
		expect(until('2026-03-01T00:00:00Z', now)).toEqual({ text: 'in 59 d', tone: 'ok' });
		expect(until('2026-01-15T00:00:00Z', now).tone).toBe('warn');
		expect(until('2026-01-02T00:00:00Z', now)).toEqual({ text: 'in 1 d', tone: 'bad' });
		expect(until('2025-12-31T00:00:00Z', now)).toEqual({ text: 'over since 1 d', tone: 'bad' });
		expect(until(null, now).text).toBe('–');
	});
});
