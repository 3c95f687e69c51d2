// The table of apps. It shows one page of rows at a time, so 5,000 apps cost no more to draw than 50.
import type { ComponentChildren, JSX } from 'preact';
import { bytes, cores, count, millis, percent, rate, visible } from './format';
import { appHref, Link, tenantHref } from './router';
import { countStates, filterApps, pageOf, sortApps, sortBy, type SortKey, type View } from './table';
import { APP_STATES, type App } from './types';
import { Badge, Bar, Card, Foreign } from './ui';

const COLUMNS: { key: SortKey; name: string; num?: boolean }[] = [
	{ key: 'name', name: 'App' },
	{ key: 'tenant', name: 'Tenant' },
	{ key: 'state', name: 'State' },
	{ key: 'instances', name: 'Instances', num: true },
	{ key: 'memory', name: 'Memory', num: true },
	{ key: 'cpu', name: 'CPU', num: true },
	{ key: 'requests', name: 'Req/s', num: true },
	{ key: 'p99', name: 'p99', num: true },
];

function StateChips(p: { apps: App[]; view: View; setView: (v: View) => void }): JSX.Element {
	const n = countStates(p.apps);
	const chip = (state: View['state'], name: string, num: number): JSX.Element => (
		<button
			key={state}
			class={`chip chip-${state || 'all'}`}
			aria-pressed={p.view.state === state}
			onClick={() => p.setView({ ...p.view, state, page: 0 })}
		>
			{name} <b>{count(num)}</b>
		</button>
	);
	return (
		<div class="chips" role="group" aria-label="Apps by state">
			{chip('', 'all', p.apps.length)}
			{APP_STATES.filter((s) => n[s] || p.view.state === s).map((s) => chip(s, s, n[s] ?? 0))}
		</div>
	);
}

function Row(p: { app: App; withTenant: boolean }): JSX.Element {
	const { app } = p;
	const s = app.stats ?? {};
	const want = s.instances_wanted ?? 0;
	const run = s.instances_running ?? 0;
	const healthy = s.instances_healthy ?? run;
	const limit = (app.limits?.memory_bytes ?? 0) * Math.max(run, 1);
	return (
		<tr>
			<th scope="row">
				<Link href={appHref(app.name)}>
					<bdi>{visible(app.name, 60)}</bdi>
				</Link>
			</th>
			{p.withTenant && (
				<td class="cell-tenant muted">
					<Link href={tenantHref(app.tenant ?? '')}>
						<bdi>{visible(app.tenant ?? '', 60)}</bdi>
					</Link>
				</td>
			)}
			<td class="cell-state">
				<Badge state={app.state} />
				{app.state === 'empty' && app.empty && <Foreign text={` ${app.empty}`} max={24} class="muted" />}
				{app.serving?.hold && <span class="muted"> held</span>}
			</td>
			<td class={`num ${healthy < want ? 'warn-text' : ''}`} data-name="instances">
				{count(healthy)}/{count(want)}
			</td>
			<td class="num" data-name="memory">
				{s.memory_bytes ? bytes(s.memory_bytes) : '–'}
				{limit > 0 && !!s.memory_bytes && (
					<Bar small value={percent(s.memory_bytes, limit)} label="Memory of its limit" />
				)}
			</td>
			<td class="num" data-name="CPU">
				{cores(s.cpu_cores)}
			</td>
			<td class="num" data-name="req/s">
				{rate(s.requests_per_second)}
			</td>
			<td class="num" data-name="p99">
				{s.requests_per_second || s.p99_ms ? millis(s.p99_ms) : '–'}
			</td>
		</tr>
	);
}

export function AppsTable(p: {
	apps: App[];
	loading: boolean;
	view: View;
	setView: (v: View) => void;
	withTenant: boolean;
	tools: ComponentChildren;
}): JSX.Element {
	const { view, setView } = p;
	const found = filterApps(p.apps, view);
	const page = pageOf(sortApps(found, view.sort, view.desc), view.page);
	const columns = COLUMNS.filter((c) => p.withTenant || c.key !== 'tenant');
	return (
		<Card
			title="Apps"
			tools={
				<>
					<input
						type="search"
						placeholder={p.withTenant ? 'Find an app or tenant' : 'Find an app'}
						aria-label={p.withTenant ? 'Find an app or tenant' : 'Find an app'}
						value={view.text}
						onInput={(e) => setView({ ...view, text: e.currentTarget.value, page: 0 })}
					/>
					{p.tools}
				</>
			}
		>
			<StateChips apps={p.apps} view={view} setView={setView} />
			{view.tenant && (
				<p class="filter-note">
					Only tenant <bdi>{visible(view.tenant, 60)}</bdi>{' '}
					<button class="link" onClick={() => setView({ ...view, tenant: '', page: 0 })}>
						show all
					</button>
				</p>
			)}
			<div class="table-box">
				<table class={`apps ${p.withTenant ? '' : 'no-tenant'}`}>
					<thead>
						<tr>
							{columns.map((c) => (
								<th
									key={c.key}
									scope="col"
									class={`col-${c.key} ${c.num ? 'num' : ''}`}
									aria-sort={view.sort === c.key ? (view.desc ? 'descending' : 'ascending') : 'none'}
								>
									<button class="sort" onClick={() => setView(sortBy(view, c.key))}>
										{c.name}
										<span class="sort-mark" aria-hidden="true">
											{view.sort === c.key ? (view.desc ? '↓' : '↑') : ''}
										</span>
									</button>
								</th>
							))}
						</tr>
					</thead>
					<tbody>
						{page.rows.map((a) => (
							<Row key={a.name} app={a} withTenant={p.withTenant} />
						))}
					</tbody>
				</table>
			</div>
			{found.length === 0 && (
				<p class="quiet">{p.loading ? 'Loading…' : p.apps.length ? 'No app matches.' : 'There is no app yet.'}</p>
			)}
			{page.pages > 1 && (
				<nav class="pages" aria-label="Pages of the table">
					<button disabled={page.page === 0} onClick={() => setView({ ...view, page: page.page - 1 })}>
						Previous
					</button>
					<span>
						{count(page.from)}–{count(page.to)} of {count(found.length)}
					</span>
					<button disabled={page.page === page.pages - 1} onClick={() => setView({ ...view, page: page.page + 1 })}>
						Next
					</button>
				</nav>
			)}
		</Card>
	);
}
