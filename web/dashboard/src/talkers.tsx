// Top talkers: who makes the load. The node counts only while somebody looks, so this looks only when told to.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get } from './api';
import { bytes, count, fraction, rate, visible } from './format';
import { appHref, Link, tenantHref } from './router';
import type { Talker, Talkers } from './types';
import { Bar, Card, Head, num, Problem } from './ui';

const LOOK_S = 5;
const SHOWN = 8;
type By = 'requests' | 'bytes' | 'time';
const BY: Record<By, string> = { requests: 'Requests', bytes: 'Bytes', time: 'Time' };
type Kind = 'clients' | 'paths' | 'hosts' | 'statuses' | 'apps' | 'tenants' | 'agents';
const KINDS: Record<Kind, string> = {
	apps: 'Apps',
	tenants: 'Tenants',
	clients: 'Clients',
	paths: 'Paths',
	hosts: 'Hosts',
	statuses: 'Statuses',
	agents: 'User agents',
};
const NAMES: Record<string, string> = { '@control': 'this control plane', '@unknown': 'hosts of nobody' };

function Name(p: { kind: Kind; row: Talker }): JSX.Element {
	const name = p.row.name;
	if (name.startsWith('@') && p.kind === 'apps') return <span class="muted">{NAMES[name] ?? visible(name, 40)}</span>;
	if (p.kind === 'apps') return <Link href={appHref(name)}>{visible(name, 60)}</Link>;
	if (p.kind === 'tenants') return <Link href={tenantHref(name)}>{visible(name, 60)}</Link>;
	return <bdi>{visible(name, 70) || '(none)'}</bdi>;
}

function Rows(p: { kind: Kind; of: Talkers; list: Talker[] }): JSX.Element {
	const s = p.of.seconds || 1;
	return (
		<div class="table-box">
			<table class="talkers">
				<Head
					columns={[
						KINDS[p.kind],
						num('Share'),
						num('Req/s'),
						num('Bytes/s'),
						num('Busy', 'Requests under way at a time, on average'),
						num('Errors', 'Answered with 400 and above'),
					]}
				/>
				<tbody>
					{p.list.slice(0, SHOWN).map((r) => (
						<tr key={r.name}>
							<th scope="row">
								<Name kind={p.kind} row={r} />
								<Bar small plain value={(r.share ?? 0) * 100} label={`Share of ${r.name}`} />
							</th>
							<td class="num" title={r.uncertain ? `up to ${fraction(r.uncertain)} more` : undefined}>
								{fraction(r.share ?? 0)}
							</td>
							<td class="num">{rate((r.requests ?? 0) / s)}</td>
							<td class="num">{bytes((r.bytes ?? 0) / s)}</td>
							<td class="num">{((r.seconds ?? 0) / s).toFixed(2)}</td>
							<td class={`num ${r.errors ? 'warn-text' : ''}`}>{r.requests ? fraction((r.errors ?? 0) / r.requests) : '–'}</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

/** `path`: /v1/apps/NAME or /v1/node. */
export function TalkersCard(p: { path: string; kinds: readonly Kind[] }): JSX.Element {
	const [by, setBy] = useState<By>('requests');
	const [on, setOn] = useState(false);
	const [kind, setKind] = useState<Kind>(p.kinds[0]!);
	const [data, setData] = useState<Talkers | null>(null);
	const [error, setError] = useState<unknown>(null);

	useEffect(() => {
		if (!on) return;
		const stop = new AbortController();
		const look = async (): Promise<void> => {
			while (!stop.signal.aborted && !document.hidden) {
				try {
					const t = await get<Talkers>(`${p.path}/talkers?by=${by}&for=${LOOK_S}s&limit=${SHOWN}`, stop.signal);
					if (stop.signal.aborted) return;
					setData(t);
					setError(null);
				} catch (e) {
					if (stop.signal.aborted) return;
					setError(e);
					break;
				}
			}
			if (!stop.signal.aborted) setOn(false); // hidden, or refused: it is turned on again by hand
		};
		void look();
		return () => stop.abort();
	}, [on, by, p.path]);

	const list = data?.[kind] ?? [];
	return (
		<Card
			title="Top talkers"
			tools={
				<>
					<select aria-label="Order talkers by" value={by} onChange={(e) => setBy(e.currentTarget.value as By)}>
						{(Object.keys(BY) as By[]).map((k) => (
							<option key={k} value={k}>
								By {BY[k].toLowerCase()}
							</option>
						))}
					</select>
					<button aria-pressed={on} class={on ? '' : 'primary'} onClick={() => setOn(!on)}>
						{on ? 'Stop' : 'Watch'}
					</button>
				</>
			}
		>
			<Problem error={error} />
			{!data && (
				<p class="quiet" role="status">
					{on ? `Counting for ${LOOK_S} seconds…` : 'Who makes the load, counted only while you watch.'}
				</p>
			)}
			{data && (
				<>
					<p class="quiet" role="status">
						{on ? 'Live: ' : ''}
						{count(data.requests)} requests in {data.seconds.toFixed(0)} s ({rate(data.requests / data.seconds)}/s,{' '}
						{bytes((data.bytes ?? 0) / data.seconds)}/s)
						{data.sampled !== undefined && data.sampled < data.requests && `, ${count(data.sampled)} looked at`}
						{(data.workers_missing ?? 0) > 0 && `; ${data.workers_missing} workers did not answer`}
					</p>
					<div class="segments talker-kinds" role="group" aria-label="Talkers of which kind">
						{p.kinds.map((k) => (
							<button key={k} aria-pressed={kind === k} onClick={() => setKind(k)}>
								{KINDS[k]}
							</button>
						))}
					</div>
					{list.length > 0 ? <Rows kind={kind} of={data} list={list} /> : <p class="quiet">No request ended in this time.</p>}
				</>
			)}
		</Card>
	);
}
