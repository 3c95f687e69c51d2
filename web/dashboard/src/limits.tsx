// A tenant's quota beside what it uses; an app's limits beside what was hit.
import type { JSX } from 'preact';
import { visible } from './format';
import { appEgress, egressWords, HITS, hits, limitRows, quotaRows } from './quota';
import type { App, Event, Tenant } from './types';
import { Ago, Bar, Card, Foreign, Head, num } from './ui';

export function Quota(p: { tenant: Tenant; named: boolean }): JSX.Element {
	const t = p.tenant;
	const rows = quotaRows(t.quota, t.used, t.usage);
	return (
		<Card title={p.named ? `Quota of ${visible(t.name, 40)}` : 'Your quota'} id="quota">
			<p class="quiet">
				{t.plan ? (
					<>
						Plan <Foreign text={t.plan} max={32} class="strong" />
					</>
				) : (
					'No plan: a quota of its own'
				)}
				{t.profile === 'strict' && ', strict profile'}
				{t.private_layers && ', private layers'}. May connect to{' '}
				{t.profile === 'strict' ? egressWords({ mode: 'none' }) : visible(egressWords(t.egress), 400)}.
			</p>
			<div class="table-box">
				<table class="quota">
					<Head
						columns={[
							{ label: 'Of what' },
							num('In use', 'What runs really uses now'),
							num('Committed', 'The sum of the limits of what runs, and stored bytes: this counts against the quota'),
							num('Quota'),
						]}
					/>
					<tbody>
						{rows.map((r) => (
							<tr key={r.key}>
								<th scope="row">
									{r.name}
									<Bar small value={r.share} label={`${r.name} of the quota`} />
								</th>
								<td class="num">{r.use}</td>
								<td class="num">{r.committed}</td>
								<td class="num">{r.limit}</td>
							</tr>
						))}
					</tbody>
				</table>
			</div>
		</Card>
	);
}

export function Limits(p: { app: App; events: readonly Event[] }): JSX.Element {
	const a = p.app;
	const hit = hits(p.events);
	return (
		<Card title="Limits of each instance">
			{hit.length > 0 && (
				<ul class="hits">
					{hit.map((e) => (
						<li key={String(e.id)}>
							<span class="strong warn-text">{HITS[e.kind]}</span> <Ago time={e.time} />
							<br />
							<Foreign text={e.text} max={400} />
						</li>
					))}
				</ul>
			)}
			<dl class="limits">
				{limitRows(a.limits).map((r) => (
					<div key={r.key}>
						<dt>{r.name}</dt>
						<dd>{r.limit}</dd>
					</div>
				))}
			</dl>
			<p class="quiet">
				{a.limits_own === false ? 'From the tenant’s plan, or the node. ' : 'Set for this app. '}
				{a.profile === 'strict' && 'Strict profile. '}
				{visible(appEgress(a), 400)}
			</p>
		</Card>
	);
}
