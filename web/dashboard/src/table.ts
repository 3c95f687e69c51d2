// Sorting, filtering and paging of the table of apps. Pure.
import type { App, AppState } from './types';

export type SortKey = 'name' | 'tenant' | 'state' | 'instances' | 'memory' | 'cpu' | 'requests' | 'p99';

export interface View {
	text: string;
	state: AppState | '';
	tenant: string;
	sort: SortKey;
	desc: boolean;
	page: number; // from 0
}

/** What needs a person stands at the top. */
export const FIRST_VIEW: View = { text: '', state: '', tenant: '', sort: 'state', desc: false, page: 0 };
export const PAGE_ROWS = 50;

const STATE_ORDER: Record<string, number> = {
	crashed: 0,
	degraded: 1,
	deploying: 2,
	starting: 3,
	paused: 4,
	stopped: 5,
	empty: 6,
	running: 7,
};

const value: Record<SortKey, (a: App) => string | number> = {
	name: (a) => a.name,
	tenant: (a) => a.tenant ?? '',
	state: (a) => STATE_ORDER[a.state] ?? 8,
	instances: (a) => a.stats?.instances_running ?? 0,
	memory: (a) => a.stats?.memory_bytes ?? 0,
	cpu: (a) => a.stats?.cpu_cores ?? 0,
	requests: (a) => a.stats?.requests_per_second ?? 0,
	p99: (a) => a.stats?.p99_ms ?? -1,
};

export const isNumeric = (k: SortKey): boolean => !['name', 'tenant', 'state'].includes(k);

export function filterApps(apps: readonly App[], v: Pick<View, 'text' | 'state' | 'tenant'>): App[] {
	const words = v.text.toLowerCase().split(/\s+/).filter(Boolean);
	return apps.filter(
		(a) =>
			(!v.state || a.state === v.state) &&
			(!v.tenant || a.tenant === v.tenant) &&
			words.every((w) => a.name.toLowerCase().includes(w) || (a.tenant ?? '').toLowerCase().includes(w)),
	);
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);

/** Equal rows stay in the order of their names, so that a live table does not shuffle. */
export function sortApps(apps: readonly App[], sort: SortKey, desc: boolean): App[] {
	const f = value[sort];
	const sign = desc ? -1 : 1;
	return [...apps].sort((a, b) => sign * compare(f(a), f(b)) || compare(a.name, b.name));
}

/** A click on a column's head: the same column turns round; a new one starts with what is most asked for. */
export function sortBy(v: View, key: SortKey): View {
	return { ...v, page: 0, sort: key, desc: v.sort === key ? !v.desc : isNumeric(key) };
}

export function pageOf<T>(
	rows: readonly T[],
	page: number,
): { rows: T[]; page: number; pages: number; from: number; to: number } {
	const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
	const p = Math.max(0, Math.min(page, pages - 1));
	const from = p * PAGE_ROWS;
	const part = rows.slice(from, from + PAGE_ROWS);
	return { rows: part, page: p, pages, from: rows.length ? from + 1 : 0, to: from + part.length };
}

export function countStates(apps: readonly App[]): Record<string, number> {
	const n: Record<string, number> = {};
	for (const a of apps) n[a.state] = (n[a.state] ?? 0) + 1;
	return n;
}

export interface TenantUse {
	name: string;
	apps: number;
	instances: number;
	memory: number;
	cpu: number;
	requests: number;
}

/** Who uses what, from the figures of the apps. */
export function useByTenant(apps: readonly App[]): TenantUse[] {
	const m = new Map<string, TenantUse>();
	for (const a of apps) {
		let t = m.get(a.tenant);
		if (!t) m.set(a.tenant, (t = { name: a.tenant, apps: 0, instances: 0, memory: 0, cpu: 0, requests: 0 }));
		t.apps++;
		t.instances += a.stats?.instances_running ?? 0;
		t.memory += a.stats?.memory_bytes ?? 0;
		t.cpu += a.stats?.cpu_cores ?? 0;
		t.requests += a.stats?.requests_per_second ?? 0;
	}
	return [...m.values()];
}
