// Limits of an instance, quota of a tenant, and what was hit, in words. Pure.
import { bytes, cores, count, short } from './format';
import type { Amounts, App, Event, Limits } from './types';

type Unit = 'bytes' | 'rate' | 'cores' | 'count' | 'lines' | 'packets';

interface Row {
	key: keyof Amounts & keyof Limits;
	name: string;
	unit: Unit;
}

const SHARED: readonly Row[] = [
	{ key: 'memory_bytes', name: 'Memory', unit: 'bytes' },
	{ key: 'swap_bytes', name: 'Swap', unit: 'bytes' },
	{ key: 'cpu', name: 'CPU', unit: 'cores' },
	{ key: 'pids', name: 'Processes', unit: 'count' },
	{ key: 'disk_bytes', name: 'Disk', unit: 'bytes' },
	{ key: 'inodes', name: 'Files on disk', unit: 'count' },
];
const RATES: readonly Row[] = [
	{ key: 'io_read_rate', name: 'Disk read', unit: 'rate' },
	{ key: 'io_write_rate', name: 'Disk write', unit: 'rate' },
	{ key: 'net_in_rate', name: 'Network in', unit: 'rate' },
	{ key: 'net_out_rate', name: 'Network out', unit: 'rate' },
	{ key: 'net_packets_rate', name: 'Network packets out', unit: 'packets' },
	{ key: 'log_rate', name: 'Log lines', unit: 'lines' },
];

/** A rate of 0 is not limited here: the level above holds. */
export function amount(n: number | undefined, unit: Unit): string {
	switch (unit) {
		case 'bytes':
			return bytes(n);
		case 'cores':
			return cores(n);
		case 'count':
			return count(n);
		case 'rate':
			return n === 0 ? 'not limited' : `${bytes(n)}/s`;
		case 'packets':
		case 'lines':
			return n === 0 ? 'not limited' : `${count(n)}/s`;
	}
}

/** As amount, short enough for a column of four. */
const brief = (n: number | undefined, unit: Unit): string => (unit === 'count' ? short(n) : amount(n, unit));

export interface QuotaRow {
	key: string;
	name: string;
	use: string; // what runs really uses
	committed: string; // the sum of limits, and stored bytes: what counts
	limit: string;
	share: number; // of the limit, 0..100, of what counts
}

/** What has neither a quota nor a use (swap, where there is none) is left out. */
export function quotaRows(quota: Amounts = {}, used: Amounts = {}, usage: Amounts = {}): QuotaRow[] {
	const rows = [
		...SHARED,
		{ key: 'instances', name: 'Instances', unit: 'count' } as const,
		{ key: 'apps', name: 'Apps', unit: 'count' } as const,
	];
	return rows
		.filter(({ key }) => quota[key] || used[key])
		.map(({ key, name, unit }) => {
			const limit = quota[key] ?? 0;
			const most = Math.max(used[key] ?? 0, usage[key] ?? 0);
			return {
				key,
				name,
				use: brief(usage[key], unit),
				committed: brief(used[key], unit),
				limit: brief(quota[key], unit),
				share: limit > 0 ? Math.min(100, (most / limit) * 100) : 0,
			};
		});
}

export function limitRows(l: Limits = {}): { key: string; name: string; limit: string }[] {
	const rows = [...SHARED, { key: 'nofile', name: 'Open files per process', unit: 'count' } as const, ...RATES];
	return rows
		.filter(({ key }) => l[key] !== undefined && !(key === 'swap_bytes' && l[key] === 0))
		.map(({ key, name, unit }) => ({ key, name, limit: amount(l[key], unit) }));
}

export const HITS: Record<string, string> = {
	'instance.oom': 'Out of memory',
	'instance.memory': 'Memory limit reached',
	'instance.pids': 'Processes refused',
	'instance.packets': 'Packets refused',
	'instance.throttled': 'CPU limit reached',
	'instance.disk': 'Disk full',
	'instance.refused': 'Quota reached',
	'tenant.memory': 'Memory quota reached',
	'tenant.pids': 'Process quota reached',
	'tenant.packets': 'Packet quota reached',
};

/** The newest event of each kind of limit that was hit; events are newest first. */
export function hits(events: readonly Event[], most = 5): Event[] {
	const seen = new Set<string>();
	return events.filter((e) => e.kind in HITS && !seen.has(e.kind) && seen.add(e.kind)).slice(0, most);
}

/** Where an app may connect to. */
export function egressWords(e: { mode?: string; allow?: string[] } | undefined): string {
	if (e?.mode === 'none') return 'nowhere but the tenant’s own apps';
	if (e?.mode === 'list') return e.allow?.length ? e.allow.join(', ') : 'nowhere but the tenant’s own apps';
	return 'public addresses';
}

/** What the app really has; of a node that does not say, what it asks for. */
export function appEgress(a: Pick<App, 'egress' | 'egress_effective'>): string {
	const has = a.egress_effective;
	if (!has) return `May connect to ${egressWords(a.egress)}, within the tenant’s policy.`;
	return `May connect to ${egressWords(has)}${has.why ? ` (${has.why})` : ''}.`;
}
