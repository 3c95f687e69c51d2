// The host for its operator; "Your apps" for a tenant.
import type { JSX } from 'preact';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { get, getAll } from './api';
import { AppsTable } from './apps';
import { Expiring } from './certs';
import { bytes, cores, count, percent, plural, rate, span, visible } from './format';
import { Quota } from './limits';
import { NewApp } from './newapp';
import { Plots } from './plot';
import { usePoll } from './poll';
import { Link, tenantHref } from './router';
import { EventList, useEvents } from './stream';
import { FIRST_VIEW, useByTenant, type TenantUse, type View } from './table';
import { TalkersCard } from './talkers';
import { TenantTiles } from './tenant';
import type { App, Node, Tenant, Whoami } from './types';
import { Bar, Card, Problem, Tile, useNow } from './ui';

const NODE_MS = 3000;
const APPS_MS = 5000;
const TENANT_MS = 15_000;
const EVENT_REFRESH_MS = 1000; // events come in bursts: one look at the apps serves them all
const EVENT_APPS = 200; // a list longer than one page waits for its turn: on a busy host something happens all the time

function NodeHead(p: { node: Node }): JSX.Element {
	const n = p.node;
	const now = useNow();
	const state = n.draining ? 'draining' : n.eligible ? '' : 'not eligible for new apps';
	const pr = n.pressure;
	return (
		<div class="page-head">
			<div>
				<h1 tabIndex={-1}>
					<bdi>{visible(n.name, 80)}</bdi>
				</h1>
				<p class="sub">
					Tulou {visible(n.version, 40)} · up {span((now - Date.parse(n.started_at)) / 1000)}
					{state && <strong class="warn-text"> · {state}</strong>}
				</p>
			</div>
			<dl class="vitals">
				{n.load && (
					<div title="Processes that run or wait, averaged over 1, 5 and 15 minutes">
						<dt>Load</dt>
						<dd>{n.load.map((l) => l.toFixed(2)).join(' · ')}</dd>
					</div>
				)}
				{pr &&
					(['cpu', 'memory', 'io'] as const).map((k) => (
						<div key={k} title={`Share of the last 10 s in which something waited for ${k}`}>
							<dt>{k === 'cpu' ? 'CPU' : k === 'io' ? 'I/O' : 'Memory'} pressure</dt>
							<dd class={(pr[k] ?? 0) >= 40 ? 'bad-text' : (pr[k] ?? 0) >= 10 ? 'warn-text' : ''}>
								{(pr[k] ?? 0).toFixed(1)} %
							</dd>
						</div>
					))}
				{n.throttle && (n.throttle.slowed ?? 0) > 0 && (
					<div title="Instances that want more CPU than their fair share, while others wait">
						<dt>Slowed</dt>
						<dd class="warn-text">{n.throttle.slowed}</dd>
					</div>
				)}
			</dl>
		</div>
	);
}

function NodeTiles(p: { node: Node; cpu: number | undefined }): JSX.Element {
	const n = p.node;
	const c = n.capacity ?? {};
	const mem = percent(n.memory_used_bytes, n.memory_bytes);
	const running = n.instances?.running ?? 0;
	const wanted = n.instances?.wanted ?? 0;
	return (
		<div class="tiles">
			<Tile
				name="Memory"
				value={bytes(n.memory_used_bytes)}
				of={bytes(n.memory_bytes)}
				note={`${bytes(c.memory_committed_bytes)} committed of ${bytes(c.memory_bytes ?? n.memory_bytes)}`}
			>
				<Bar
					value={mem}
					mark={percent(c.memory_committed_bytes, c.memory_bytes ?? n.memory_bytes)}
					label="Memory used"
				/>
			</Tile>
			<Tile
				name="CPU"
				value={cores(p.cpu)}
				of={`${count(n.cpus)} cores`}
				note={`${cores(c.cpu_committed)} committed of ${cores(c.cpu ?? n.cpus)}`}
			>
				<Bar value={percent(p.cpu, n.cpus)} mark={percent(c.cpu_committed, c.cpu ?? n.cpus)} label="CPU used" />
			</Tile>
			<Tile
				name="Disk"
				value={bytes(n.disk_used_bytes)}
				of={bytes(n.disk_bytes)}
				note={`${bytes((n.disk_bytes ?? 0) - (n.disk_used_bytes ?? 0))} free`}
			>
				<Bar value={percent(n.disk_used_bytes, n.disk_bytes)} label="Disk used" />
			</Tile>
			{n.apps_disk && (
				<Tile
					name="Apps' disk"
					value={bytes(n.apps_disk.total_bytes - n.apps_disk.free_bytes)}
					of={bytes(n.apps_disk.total_bytes)}
					note={
						n.apps_disk.state === 'ok' ? (
							`${bytes(n.apps_disk.free_bytes)} free`
						) : (
							<strong class="warn-text">
								{n.apps_disk.percent} % full: {bytes(n.apps_disk.free_bytes)} free
							</strong>
						)
					}
				>
					<Bar value={n.apps_disk.percent} label="Apps' disk used" />
				</Tile>
			)}
			<Tile
				name="Instances"
				value={count(running)}
				of={`${count(wanted)} wanted`}
				note={`${n.instances?.starting ? `${count(n.instances.starting)} starting · ` : ''}room for ${count(c.instances)}`}
			>
				<Bar plain value={percent(running, wanted)} label="Instances running of those wanted" />
			</Tile>
			<Tile
				name="Requests"
				value={rate(n.requests_per_second)}
				of="s"
				note={`${plural(n.apps, 'app')} of ${plural(n.tenants ?? 0, 'tenant')}`}
			/>
		</div>
	);
}

type Use = 'memory' | 'cpu' | 'requests' | 'instances';
const USES: Record<Use, { name: string; format: (n: number) => string }> = {
	memory: { name: 'Memory', format: bytes },
	cpu: { name: 'CPU', format: cores },
	requests: { name: 'Requests', format: (n) => `${rate(n)}/s` },
	instances: { name: 'Instances', format: count },
};
const TENANTS_SHOWN = 12;

function WhoUsesWhat(p: {
	apps: App[];
	tenants: Tenant[] | undefined;
	chosen: string;
	choose: (t: string) => void;
}): JSX.Element {
	const [by, setBy] = useState<Use>('memory');
	const use = useByTenant(p.apps).sort((a, b) => b[by] - a[by] || (a.name < b.name ? -1 : 1));
	const top = Math.max(...use.map((u) => u[by]), Number.MIN_VALUE);
	const quota = new Map((p.tenants ?? []).map((t) => [t.name, t.quota]));
	const of = (u: TenantUse): number | undefined => {
		const q = quota.get(u.name);
		return by === 'memory' ? q?.memory_bytes : by === 'cpu' ? q?.cpu : by === 'instances' ? q?.instances : undefined;
	};
	// Requests have no quota: there the largest is the measure.
	const share = (u: TenantUse): number => (by === 'requests' ? (u[by] / top) * 100 : percent(u[by], of(u)));
	return (
		<Card
			title="Who uses what"
			tools={
				<select aria-label="Compare tenants by" value={by} onChange={(e) => setBy(e.currentTarget.value as Use)}>
					{(Object.keys(USES) as Use[]).map((k) => (
						<option key={k} value={k}>
							{USES[k].name}
						</option>
					))}
				</select>
			}
		>
			{use.length === 0 && <p class="quiet">No tenant has an app yet.</p>}
			<ul class="use">
				{use.slice(0, TENANTS_SHOWN).map((u) => (
					<li key={u.name}>
						<div class={`use-row ${p.chosen === u.name ? 'chosen' : ''}`}>
							<span class="use-name">
								<Link href={tenantHref(u.name)}>
									<bdi>{visible(u.name, 60)}</bdi>
								</Link>{' '}
								<span class="muted">{plural(u.apps, 'app')}</span>
							</span>
							<button
								class="use-value"
								aria-pressed={p.chosen === u.name}
								aria-label={`Show only the apps of ${visible(u.name, 60)}`}
								title="Show only this tenant’s apps"
								onClick={() => p.choose(p.chosen === u.name ? '' : u.name)}
							>
								{USES[by].format(u[by])}
								<span class="muted">{of(u) ? ` of ${USES[by].format(of(u)!)}` : ''}</span>
							</button>
							<Bar
								small
								plain={by === 'requests'}
								value={share(u)}
								label={`${u.name}: ${USES[by].name}${by === 'requests' ? '' : ' of the quota'}`}
							/>
						</div>
					</li>
				))}
			</ul>
			{use.length > TENANTS_SHOWN && (
				<p class="quiet">and {plural(use.length - TENANTS_SHOWN, 'more tenant')} that use less</p>
			)}
		</Card>
	);
}

export function Home(p: { who: Whoami }): JSX.Element {
	const host = p.who.tenant === null;
	const [view, setView] = useState<View>(FIRST_VIEW);
	const [creating, setCreating] = useState(false);
	const [cpu, setCpu] = useState<number | undefined>();
	const node = usePoll(host ? '/v1/node' : null, (s) => get<Node>('/v1/node', s), NODE_MS);
	const apps = usePoll('/v1/apps', (s) => getAll<App>('/v1/apps', s), APPS_MS);
	const tenants = usePoll(host ? '/v1/tenants' : null, (s) => getAll<Tenant>('/v1/tenants', s), TENANT_MS);
	const own = `/v1/tenants/${encodeURIComponent(p.who.tenant ?? '')}`;
	const tenant = usePoll(host ? null : own, (s) => get<Tenant>(own, s), TENANT_MS);
	const soon = useRef<ReturnType<typeof setTimeout> | undefined>();
	const few = useRef(false);
	few.current = (apps.data?.length ?? 0) <= EVENT_APPS;
	const onEvent = useCallback(() => {
		if (soon.current || !few.current) return;
		soon.current = setTimeout(() => {
			soon.current = undefined;
			apps.refresh();
		}, EVENT_REFRESH_MS);
	}, []);
	const events = useEvents('/v1/events', onEvent);
	useEffect(() => () => clearTimeout(soon.current), []);
	const name = host ? node.data?.name : p.who.tenant;
	useEffect(() => {
		document.title = name ? `${name} · Tulou` : 'Tulou';
	}, [name]);

	const list = apps.data ?? [];
	const chosen = view.tenant ? tenants.data?.find((t) => t.name === view.tenant) : undefined;
	const mayCreate = p.who.role === 'operator' || p.who.role === 'admin' || p.who.role === 'deployer';
	return (
		<>
			{host && node.data && <NodeHead node={node.data} />}
			{host && <Problem error={node.error} retry={node.refresh} />}
			{!host && (
				<div class="page-head">
					<div>
						<h1 tabIndex={-1}>Your apps</h1>
						<p class="sub">
							Tenant <bdi>{p.who.tenant}</bdi>
						</p>
					</div>
				</div>
			)}
			{host && node.data && <NodeTiles node={node.data} cpu={cpu} />}
			{!host && tenant.data && <TenantTiles tenant={tenant.data} />}
			{host && <Plots path="/v1/node" onNewest={setCpu} />}
			<div class="columns">
				<div class="column-wide">
					{p.who.role === 'operator' && <TalkersCard path="/v1/node" kinds={['apps', 'tenants', 'clients', 'hosts', 'statuses', 'agents']} />}
					<Problem error={apps.error} retry={apps.refresh} />
					<AppsTable
						apps={list}
						loading={apps.data === undefined && !apps.error}
						view={view}
						setView={setView}
						withTenant={host}
						tools={
							mayCreate && (
								<button class="primary" onClick={() => setCreating(true)}>
									New app
								</button>
							)
						}
					/>
				</div>
				<div class="column-narrow">
					{host && (
						<WhoUsesWhat
							apps={list}
							tenants={tenants.data}
							chosen={view.tenant}
							choose={(t) => setView({ ...view, tenant: t, page: 0 })}
						/>
					)}
					{!host && tenant.data && <Quota tenant={tenant.data} named={false} />}
					{chosen && <Quota tenant={chosen} named />}
					{p.who.role === 'operator' && <Expiring />}
					<EventList events={events} withApp />
				</div>
			</div>
			{creating && <NewApp tenants={host ? (tenants.data ?? []) : null} onClose={() => setCreating(false)} />}
		</>
	);
}
