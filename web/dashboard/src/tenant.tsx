// One tenant: what it uses of its quota, its apps. The tiles also head a tenant's own "Your apps".
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get, getAll } from './api';
import { AppsTable } from './apps';
import { bytes, cores, count, percent, visible } from './format';
import { Quota } from './limits';
import { usePoll } from './poll';
import { Link } from './router';
import { FIRST_VIEW, type View } from './table';
import type { App, Tenant, Whoami } from './types';
import { Bar, Problem, Tile } from './ui';

const APPS_MS = 5000;
const TENANT_MS = 15_000;

/** The figure and the bar are what is in use; the mark and the note what is committed. */
export function TenantTiles(p: { tenant: Tenant }): JSX.Element {
	const { quota: q = {}, used: u = {}, usage: is = {} } = p.tenant;
	const row = (
		name: string,
		key: 'memory_bytes' | 'cpu' | 'disk_bytes' | 'instances',
		format: (n: number | undefined) => string,
		unit = '',
	): JSX.Element => (
		<Tile name={name} value={format(is[key])} of={`${format(q[key])}${unit}`} note={`${format(u[key])} committed`}>
			<Bar value={percent(is[key], q[key])} mark={percent(u[key], q[key])} label={`${name} of the quota`} />
		</Tile>
	);
	return (
		<>
		{is.pending && (
			<p class="warn-text" role="status">
				Pending: {visible(is.pending, 300)}
			</p>
		)}
		<div class="tiles">
			{row('Memory', 'memory_bytes', bytes)}
			{row('CPU', 'cpu', cores, ' cores')}
			{row('Disk', 'disk_bytes', bytes)}
			{row('Instances', 'instances', count)}
			<Tile name="Apps" value={count(u.apps)} of={count(q.apps)}>
				<Bar value={percent(u.apps, q.apps)} label="Apps of the quota" />
			</Tile>
		</div>
		</>
	);
}

export function TenantPage(p: { name: string; who: Whoami }): JSX.Element {
	const [view, setView] = useState<View>(FIRST_VIEW);
	const at = `/v1/tenants/${encodeURIComponent(p.name)}`;
	const list = `/v1/apps?tenant=${encodeURIComponent(p.name)}`;
	const tenant = usePoll(at, (s) => get<Tenant>(at, s), TENANT_MS);
	const apps = usePoll(list, (s) => getAll<App>(list, s), APPS_MS);
	useEffect(() => {
		document.title = `${visible(p.name, 40)} · Tulou`;
	}, [p.name]);
	return (
		<>
			<div class="page-head">
				<div>
					<h1 tabIndex={-1}>
						<bdi>{visible(p.name, 60)}</bdi>
					</h1>
					<p class="sub">
						Tenant{p.who.tenant === null && (
							<>
								{' '}
								of <Link href="/">this host</Link>
							</>
						)}
					</p>
				</div>
			</div>
			<Problem error={tenant.error} retry={tenant.refresh} />
			{tenant.data && <TenantTiles tenant={tenant.data} />}
			<div class="columns">
				<div class="column-wide">
					{!tenant.error && <Problem error={apps.error} retry={apps.refresh} />}
					<AppsTable
						apps={apps.data ?? []}
						loading={apps.data === undefined && !apps.error}
						view={view}
						setView={setView}
						withTenant={false}
						tools={null}
					/>
				</div>
				<div class="column-narrow">{tenant.data && <Quota tenant={tenant.data} named />}</div>
			</div>
		</>
	);
}
