// One app: how it is, why, and everything its owner can do about it.
import type { JSX } from 'preact';
import { useCallback, useEffect, useRef } from 'preact/hooks';
import { ApiError, appPath, get, send } from './api';
import { bytes, cores, count, fraction, millis, percent, rate, safeUrl, visible } from './format';
import { Domains } from './certs';
import { CanaryCard, FrontDoor, LatencyCard } from './door';
import { Limits } from './limits';
import { Builds, Config, Formation, Instances, Push, Releases } from './panels';
import { Plots } from './plot';
import { usePoll } from './poll';
import { Link } from './router';
import { EventList, LogTail, useEvents } from './stream';
import { TalkersCard } from './talkers';
import type { App, Build, Instance, List, Release, Whoami } from './types';
import { Ago, ask, Badge, Bar, Callout, Foreign, Problem, say, act, Tile } from './ui';
import { appWords, deployTrouble } from './words';

const APP_MS = 3000;
const INSTANCES_MS = 3000;
const RELEASES_MS = 20_000; // events tell of new ones at once
const EVENT_REFRESH_MS = 500;
const LISTED = 50;

function Buttons(p: { app: App; refresh: () => void }): JSX.Element {
	const { app } = p;
	const path = appPath(app.name);
	return (
		<div class="buttons">
			{app.release && !app.paused && (
				<button
					onClick={() =>
						ask({
							title: `Restart ${app.name}?`,
							text: 'New instances of the same release are started first; the old ones stop when the new ones answer. No request is lost.',
							verb: 'Restart',
							act: () => send('POST', `${path}/restart`).then(p.refresh),
							done: 'Restarting.',
						})
					}
				>
					Restart
				</button>
			)}
			{app.paused || app.serving?.hold ? (
				<button
					class="primary"
					onClick={() =>
						void act(async () => {
							await send('PATCH', path, { paused: false, serving: { hold: false } });
							p.refresh();
						}, 'Resumed.')
					}
				>
					Resume
				</button>
			) : (
				app.release && (
					<button
						onClick={() =>
							ask({
								title: `Pause ${app.name}?`,
								text: 'All its instances stop and its address answers 503 until it is resumed. Formation, releases and config are kept.',
								verb: 'Pause',
								danger: true,
								act: () => send('PATCH', path, { paused: true }).then(p.refresh),
								done: 'Paused.',
							})
						}
					>
						Pause
					</button>
				)
			)}
		</div>
	);
}

function Tiles(p: { app: App; instances: Instance[] | undefined }): JSX.Element {
	const s = p.app.stats ?? {};
	const limit = (p.instances ?? []).reduce((n, i) => n + (i.memory_limit_bytes ?? 0), 0) || p.app.limits?.memory_bytes;
	const st = s.status ?? {};
	const total = Object.values(st).reduce((a, b) => a + b, 0);
	const share = (classes: string[]): string => {
		const n = classes.reduce((a, k) => a + (st[k] ?? 0), 0);
		return total ? fraction(n / total) : '–';
	};
	const cpuLimit = (p.app.limits?.cpu ?? 0) * Math.max(1, s.instances_running ?? 0);
	return (
		<div class="tiles">
			<Tile name="Memory" value={bytes(s.memory_bytes)} of={limit ? bytes(limit) : undefined}>
				<Bar value={percent(s.memory_bytes, limit)} label="Memory of the limit" />
			</Tile>
			<Tile name="CPU" value={cores(s.cpu_cores)} of={cpuLimit ? `${cores(cpuLimit)} cores` : undefined}>
				<Bar value={percent(s.cpu_cores, cpuLimit)} label="CPU of the limit" />
			</Tile>
			<Tile name="Requests" value={rate(s.requests_per_second)} of="s" note={`${count(s.requests_total)} in all`} />
			<Tile
				name="Answer time"
				value={total ? millis(s.p50_ms) : '–'}
				note={`median; p99 ${total ? millis(s.p99_ms) : '–'}`}
			/>
			<Tile
				name="Good answers"
				value={share(['2xx', '3xx'])}
				note={
					<>
						<span class={st['4xx'] ? 'warn-text' : ''}>{share(['4xx'])} client errors</span> ·{' '}
						<span class={st['5xx'] ? 'bad-text' : ''}>{share(['5xx'])} server errors</span>
					</>
				}
			/>
		</div>
	);
}

export function AppPage(p: { name: string; who: Whoami }): JSX.Element {
	const path = appPath(p.name);
	const app = usePoll(path, (s) => get<App>(path, s), APP_MS);
	const deployed = app.data !== undefined && app.data.state !== 'empty';
	const instances = usePoll(
		deployed ? `${path}/instances` : null,
		(s) => get<List<Instance>>(`${path}/instances`, s),
		INSTANCES_MS,
	);
	const releases = usePoll(
		`${path}/releases`,
		(s) => get<List<Release>>(`${path}/releases?limit=${LISTED}`, s),
		RELEASES_MS,
	);
	const builds = usePoll(`${path}/builds`, (s) => get<List<Build>>(`${path}/builds?limit=${LISTED}`, s), RELEASES_MS);
	const refreshAll = (): void => [app, instances, releases, builds].forEach((x) => x.refresh());
	const latest = useRef(refreshAll);
	latest.current = refreshAll;
	const soon = useRef<ReturnType<typeof setTimeout> | undefined>();
	const onEvent = useCallback(() => {
		soon.current ??= setTimeout(() => {
			soon.current = undefined;
			latest.current();
		}, EVENT_REFRESH_MS);
	}, []);
	const events = useEvents(`${path}/events`, onEvent);
	useEffect(() => () => clearTimeout(soon.current), []);
	useEffect(() => {
		document.title = `${visible(p.name, 60)} · Tulou`;
	}, [p.name]);

	if (!app.data) {
		const none = app.error instanceof ApiError && app.error.status === 404;
		return (
			<div class="empty">
				<h1 tabIndex={-1}>
					<Foreign text={p.name} max={80} />
				</h1>
				{none ? (
					<p>
						There is no such app here, or it is not yours to see. <Link href="/">Back to the apps</Link>
					</p>
				) : app.error ? (
					<Problem error={app.error} retry={app.refresh} />
				) : (
					<p class="quiet">Loading…</p>
				)}
			</div>
		);
	}
	const a = app.data;
	const mayDeploy = ['operator', 'admin', 'deployer'].includes(p.who.role);
	const facts = {
		app: a,
		instances: instances.data?.items,
		releases: releases.data?.items,
		builds: builds.data?.items,
		events: events.items,
	};
	const main = appWords(facts);
	const trouble = deployTrouble(facts);
	const url = safeUrl(a.url);
	const changed = (text: string) => (): void => {
		if (text) say(text);
		refreshAll();
	};
	return (
		<>
			<p class="crumb">
				<Link href="/">{p.who.tenant ? 'Your apps' : 'Host'}</Link> <span aria-hidden="true">/</span>{' '}
				<Foreign text={a.name} max={60} />
			</p>
			<div class="page-head">
				<div>
					<h1 tabIndex={-1}>
						<Foreign text={a.name} max={60} /> <Badge state={a.state} />
						{main.tone === 'ok' && <span class="well">{main.detail}</span>}
					</h1>
					<p class="sub">
						{url && (
							<a href={url} target="_blank" rel="noopener noreferrer">
								{visible(a.url ?? '', 120)}
							</a>
						)}
						{!p.who.tenant && (
							<>
								{' '}
								· tenant <Foreign text={a.tenant} max={60} />
							</>
						)}
						{a.release && (
							<>
								{' '}
								· v{a.release.version} <Foreign text={a.release.note} max={80} />, <Ago time={a.release.created_at} />
							</>
						)}
					</p>
				</div>
				{mayDeploy && <Buttons app={a} refresh={refreshAll} />}
			</div>
			<Problem error={app.error} retry={app.refresh} />
			{main.tone !== 'ok' && <Callout words={main} />}
			{trouble && <Callout words={trouble} />}
			{!a.release && mayDeploy && <Push app={a} />}
			{a.state !== 'empty' && (
				<>
					<Tiles app={a} instances={instances.data?.items} />
					<Plots path={path} />
				</>
			)}
			<div class="columns">
				<div class="column-wide">
					{deployed && (
						<Instances
							path={path}
							list={instances.data?.items}
							waiting={app.data?.stats?.waiting}
							error={app.error ? null : instances.error}
							mayStop={mayDeploy}
							changed={changed('')}
						/>
					)}
					{deployed && <LatencyCard path={path} />}
					{deployed && <TalkersCard path={path} kinds={['clients', 'paths', 'hosts', 'statuses', 'agents']} />}
					<FrontDoor app={a} path={path} mayChange={mayDeploy} changed={changed('')} />
					<Domains path={path} mayChange={mayDeploy} url={a.url} />
					{deployed && <LogTail path={`${path}/logs`} />}
					{a.state === 'empty' && <EventList events={events} withApp={false} />}
					<Builds path={path} builds={builds.data?.items} error={app.error ? null : builds.error} />
				</div>
				<div class="column-narrow">
					{a.release && (
						<Formation app={a} path={path} releases={releases.data?.items} mayScale={mayDeploy} changed={changed('')} />
					)}
					{a.release && (
						<Releases
							app={a}
							path={path}
							releases={releases.data?.items}
							error={app.error ? null : releases.error}
							mayRoll={mayDeploy}
							changed={changed('')}
						/>
					)}
					{a.release && <CanaryCard app={a} path={path} mayChange={mayDeploy} changed={changed('')} />}
					<Limits app={a} events={events.items} />
					{mayDeploy && <Config path={path} live={a.release !== null} changed={changed('')} />}
					{a.state !== 'empty' && <EventList events={events} withApp={false} />}
				</div>
			</div>
			{a.release && mayDeploy && (
				<details class="card push-again">
					<summary>How to deploy a new version</summary>
					<Push app={a} bare />
				</details>
			)}
		</>
	);
}
