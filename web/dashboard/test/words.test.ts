/// <reference types="vite/client" />
import { describe, expect, it } from 'vitest';
import plan from '../../../scheduler/plan.h?raw';
import { parseRoute } from '../src/router';
import { mergeEvents } from '../src/stream';
import type { App, Event, Release } from '../src/types';
import { appWords, deployTrouble, LOOP_MINUTES, rollbackTarget, STATE_TONE } from '../src/words';

const app = (o: Partial<App>): App => ({
	name: 'shop',
	tenant: 'acme',
	state: 'running',
	release: { version: 5 },
	stats: { instances_running: 2, instances_wanted: 2 },
	...o,
});
const release = (version: number, state: Release['state']): Release => ({ version, state });

describe('the state in words', () => {
	it('says how many answer', () => {
		expect(appWords({ app: app({}) })).toMatchObject({ tone: 'ok', detail: '2 instances, all healthy.' });
		expect(appWords({ app: app({ stats: { instances_running: 1, instances_wanted: 2 } }) })).toMatchObject({
			tone: 'busy',
			title: 'Running in part',
		});
	});

	it('tells the sick from the well, and why none takes their place', () => {
		const w = appWords({
			app: app({
				state: 'degraded',
				stats: {
					instances_running: 2,
					instances_healthy: 1,
					instances_wanted: 2,
					waiting: '1 unhealthy instance cannot be replaced: memory quota 1 GiB',
				},
			}),
		});
		expect(w).toMatchObject({ tone: 'bad', title: 'Unhealthy' });
		expect(w.detail).toContain('1 of 2 instances healthy');
		expect(w.detail).toContain('memory quota 1 GiB.');
		expect(STATE_TONE.unhealthy).toBe('bad');
		expect(STATE_TONE.degraded).toBe('bad');
	});

	it('names a hold and how it ends', () => {
		const w = appWords({ app: app({ serving: { hold: true } }) });
		expect(w).toMatchObject({ tone: 'busy', title: 'Held' });
		expect(w.next).toContain('tulou apps resume shop');
	});

	it('says why an app crashed and what to do', () => {
		const w = appWords({
			app: app({ state: 'crashed' }),
			instances: [{ id: '1', type: 'web', release: 5, state: 'exited', reason: 'exited with code 1' }],
			releases: [release(5, 'live'), release(4, 'failed'), release(3, 'retired'), release(2, 'retired')],
		});
		expect(w).toMatchObject({ tone: 'bad', title: 'v5 keeps crashing' });
		expect(w.detail).toContain('exited with code 1.');
		expect(w.next).toContain('roll back to v3');
		expect(w.detail).toContain('tried again every 5 minutes');
	});

	it('says how often a crash loop is tried again, as the scheduler does', () => {
		expect(plan).toContain(`#define PLAN_LOOP_MS ${LOOP_MINUTES * 60_000}\n`);
	});

	it('tells of memory when that was it', () => {
		const events: Event[] = [
			{ id: 9, time: '', kind: 'instance.oom', text: 'web #4 used all of its 64 MiB memory and was killed' },
		];
		expect(appWords({ app: app({ state: 'crashed' }), events }).next).toContain('memory limit');
	});

	it('leads from empty to the first push, or to the failed build', () => {
		expect(appWords({ app: app({ state: 'empty', release: null }) }).title).toBe('Waiting for the first push');
		const w = appWords({
			app: app({ state: 'empty', release: null }),
			builds: [{ id: 3, state: 'failed', error: 'no buildpack fits' }],
		});
		expect(w).toMatchObject({ tone: 'bad', detail: 'no buildpack fits.' });
		expect(
			appWords({
				app: app({ state: 'empty', empty: 'deploy failed', release: null }),
				builds: [{ id: 3, state: 'succeeded' }],
				events: [{ id: 9, time: '', kind: 'deploy.failed', text: 'v1 failed: web exited with code 1' }],
			}),
		).toMatchObject({ title: 'The first deploy failed', detail: 'v1 failed: web exited with code 1.' });
	});

	it('tells of a deploy that failed while the app is well', () => {
		expect(
			deployTrouble({
				app: app({}),
				builds: [
					{ id: 2, state: 'succeeded' },
					{ id: 10, state: 'failed', error: 'x' },
				],
			})?.detail,
		).toBe('x. v5 serves on.');
		expect(deployTrouble({ app: app({}), releases: [release(5, 'live'), release(6, 'failed')] })?.title).toBe(
			'v6 was not taken live',
		);
		expect(deployTrouble({ app: app({}), releases: [release(5, 'live'), release(4, 'failed')] })).toBeNull();
		expect(deployTrouble({ app: app({}) })).toBeNull();
	});

	it('does not fall over a state it does not know', () => {
		expect(appWords({ app: app({ state: null as unknown as App['state'] }) }).title).toBe('State unknown');
	});

	it('rolls back to what once was live', () => {
		expect(rollbackTarget(app({}), [release(4, 'failed'), release(1, 'retired'), release(2, 'retired')])?.version).toBe(
			2,
		);
		expect(rollbackTarget(app({}), [release(6, 'retired')])).toBeUndefined();
	});
});

describe('events', () => {
	const e = (id: number | string): Event => ({ id, time: '', kind: 'x', text: String(id) });
	it('come once, newest first, bounded', () => {
		expect(mergeEvents([e(2), e(1)], [e('2'), e(10)]).map((x) => String(x.id))).toEqual(['10', '2', '1']);
		expect(
			mergeEvents(
				[],
				Array.from({ length: 500 }, (_, i) => e(i)),
			),
		).toHaveLength(100);
	});
});

describe('addresses', () => {
	it('name a page', () => {
		expect(parseRoute('/')).toEqual({ page: 'home' });
		expect(parseRoute('/apps/shop')).toEqual({ page: 'app', name: 'shop' });
		expect(parseRoute('/tenants/acme')).toEqual({ page: 'tenant', name: 'acme' });
		expect(parseRoute('/apps/%3Cb%3E')).toEqual({ page: 'app', name: '<b>' });
		expect(parseRoute('/apps/%E0%A4%A')).toEqual({ page: 'unknown' });
		expect(parseRoute('/apps/a/b')).toEqual({ page: 'unknown' });
	});
});
