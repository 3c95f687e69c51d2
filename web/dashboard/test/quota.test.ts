import { describe, expect, it } from 'vitest';
import { amount, appEgress, egressWords, hits, limitRows, quotaRows } from '../src/quota';

const MIB = 2 ** 20;

describe('quota', () => {
	it('shows use, what counts, and the limit', () => {
		const rows = quotaRows(
			{ memory_bytes: 512 * MIB, cpu: 2, pids: 100, apps: 10, swap_bytes: 0 },
			{ memory_bytes: 384 * MIB, cpu: 3, pids: 40, apps: 2 },
			{ memory_bytes: 100 * MIB, cpu: 0.25 },
		);
		expect(rows.map((r) => r.key)).toEqual(['memory_bytes', 'cpu', 'pids', 'apps']);
		expect(rows[0]).toMatchObject({ use: '100 MiB', committed: '384 MiB', limit: '512 MiB', share: 75 });
		expect(rows[1]).toMatchObject({ share: 100 });
		expect(rows[2]).toMatchObject({ use: '–' });
	});

	it('keeps counts short', () => {
		const rows = quotaRows({ inodes: 4_194_304 }, { inodes: 163_840 }, { inodes: 9_999 });
		expect(rows[0]).toMatchObject({ use: '9,999', committed: '164k', limit: '4.2M' });
	});

	it('does not fail on an old node', () => expect(quotaRows()).toEqual([]));
});

describe('limits', () => {
	it('says when a rate is not limited', () => {
		expect(amount(0, 'rate')).toBe('not limited');
		expect(amount(MIB, 'rate')).toBe('1 MiB/s');
		expect(amount(0, 'count')).toBe('0');
	});

	it('leaves out what there is not', () => {
		expect(limitRows({ memory_bytes: 64 * MIB, swap_bytes: 0, net_in_rate: 0, net_packets_rate: 20_000 })).toEqual([
			{ key: 'memory_bytes', name: 'Memory', limit: '64 MiB' },
			{ key: 'net_in_rate', name: 'Network in', limit: 'not limited' },
			{ key: 'net_packets_rate', name: 'Network packets out', limit: '20,000/s' },
		]);
	});

	it('tells the newest of each kind that was hit', () => {
		const e = (id: number, kind: string) => ({ id, kind, time: '', text: '' });
		const list = [e(5, 'instance.oom'), e(4, 'deploy.succeeded'), e(3, 'instance.oom'), e(2, 'instance.pids')];
		expect(hits(list).map((x) => x.id)).toEqual([5, 2]);
	});

	it('says where an app may connect to', () => {
		expect(egressWords(undefined)).toBe('public addresses');
		expect(egressWords({ mode: 'list', allow: ['192.0.2.0/24:443'] })).toBe('192.0.2.0/24:443');
		expect(egressWords({ mode: 'list', allow: [] })).toContain('nowhere');
	});

	it('says what an app really has, and why', () => {
		const egress = { mode: 'public' } as const;
		const strict = { mode: 'none', why: 'strict profile' } as const;
		expect(appEgress({ egress, egress_effective: strict })).toMatch(/nowhere.*\(strict profile\)/);
		expect(appEgress({ egress, egress_effective: { mode: 'public', why: null } })).toBe(
			'May connect to public addresses.',
		);
		expect(appEgress({ egress })).toContain('within the tenant');
	});
});
