import { describe, expect, it } from 'vitest';
import { countStates, filterApps, FIRST_VIEW, PAGE_ROWS, pageOf, sortApps, sortBy, useByTenant } from '../src/table';
import type { App } from '../src/types';

const app = (name: string, tenant: string, state: App['state'], memory = 0, p99: number | null = null): App => ({
	name,
	tenant,
	state,
	release: null,
	stats: { memory_bytes: memory, p99_ms: p99, instances_running: 1, cpu_cores: 0.5, requests_per_second: 2 },
});

const apps = [
	app('shop', 'acme', 'running', 5),
	app('blog', 'acme', 'crashed', 5),
	app('api', 'globex', 'running', 9, 20),
];
const names = (a: App[]) => a.map((x) => x.name);

describe('the table of apps', () => {
	it('filters by words of name and tenant, by state, by tenant', () => {
		expect(names(filterApps(apps, { text: '', state: '', tenant: '' }))).toEqual(['shop', 'blog', 'api']);
		expect(names(filterApps(apps, { text: 'ACME sh', state: '', tenant: '' }))).toEqual(['shop']);
		expect(names(filterApps(apps, { text: '', state: 'running', tenant: 'acme' }))).toEqual(['shop']);
		expect(filterApps(apps, { text: '.*', state: '', tenant: '' })).toEqual([]);
	});

	it('sorts, equals by name either way', () => {
		expect(names(sortApps(apps, 'memory', true))).toEqual(['api', 'blog', 'shop']);
		expect(names(sortApps(apps, 'memory', false))).toEqual(['blog', 'shop', 'api']);
		expect(names(sortApps(apps, 'state', false))).toEqual(['blog', 'api', 'shop']);
		expect(names(sortApps(apps, 'p99', true))[0]).toBe('api');
		expect(names(apps)).toEqual(['shop', 'blog', 'api']);
	});

	it('survives an app without figures', () => {
		const bare = { name: 'x', tenant: 't', state: 'empty', release: null } as App;
		for (const k of ['name', 'tenant', 'state', 'instances', 'memory', 'cpu', 'requests', 'p99'] as const)
			expect(sortApps([bare, ...apps], k, true)).toHaveLength(4);
	});

	it('turns a column round, and starts figures at the top', () => {
		const v = sortBy(FIRST_VIEW, 'memory');
		expect(v).toMatchObject({ sort: 'memory', desc: true, page: 0 });
		expect(sortBy(v, 'memory').desc).toBe(false);
		expect(sortBy(v, 'name').desc).toBe(false);
	});

	it('pages, and follows a list that shrinks', () => {
		const many = Array.from({ length: 5001 }, (_, i) => i);
		expect(pageOf(many, 0)).toMatchObject({ pages: 101, from: 1, to: PAGE_ROWS });
		expect(pageOf(many, 100).rows).toEqual([5000]);
		expect(pageOf(many, 999)).toMatchObject({ page: 100, from: 5001, to: 5001 });
		expect(pageOf([], 3)).toMatchObject({ rows: [], page: 0, pages: 1, from: 0, to: 0 });
	});

	it('sorts 20,000 apps within a frame or two', () => {
		const big = Array.from({ length: 20000 }, (_, i) =>
			app(`app-${(i * 7919) % 20000}`, `t${i % 50}`, 'running', (i * 31) % 977),
		);
		const t = performance.now();
		sortApps(filterApps(big, { text: 'app', state: '', tenant: '' }), 'memory', true);
		expect(performance.now() - t).toBeLessThan(400);
	});

	it('adds up', () => {
		expect(countStates(apps)).toEqual({ running: 2, crashed: 1 });
		expect(useByTenant(apps).find((t) => t.name === 'acme')).toEqual({
			name: 'acme',
			apps: 2,
			instances: 2,
			memory: 10,
			cpu: 1,
			requests: 4,
		});
	});
});
