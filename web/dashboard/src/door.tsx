// The front door of an app: its settings, the canary beside the live release, and how requests fare.
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { get, send } from './api';
import { count, fraction, millis, span, visible } from './format';
import { canaryWords, canaryWorse, errorShare, frontFacts, refusals, statusParts } from './front';
import { usePoll } from './poll';
import { appHref, Link } from './router';
import type { App, Canary, Front, Latency, LatencyOf, List, PathRoute, Quantiles } from './types';
import { act, Ago, ask, Badge, Bar, Card, Foreign, Head, num, Problem } from './ui';

const FRONT_MS = 15_000;
const CANARY_MS = 5000;
const LATENCY_MS = 10_000;

export function FrontDoor(p: { app: App; path: string; mayChange: boolean; changed: () => void }): JSX.Element {
	const url = `${p.path}/front`;
	const front = usePoll(url, (s) => get<Front>(url, s), FRONT_MS);
	const routes = usePoll(`${p.path}/routes`, (s) => get<List<PathRoute>>(`${p.path}/routes`, s), FRONT_MS);
	const on = Boolean(front.data?.maintenance?.on);
	const hold = Boolean(p.app.serving?.hold);
	const refresh = (): void => {
		front.refresh();
		p.changed();
	};
	return (
		<Card title="Front door">
			<Problem error={front.error ?? routes.error} retry={refresh} />
			{!front.data && !front.error && <p class="quiet">Loading…</p>}
			{front.data && (
				<dl class="facts">
					{frontFacts(front.data, p.app).map((f) => (
						<div key={f.name}>
							<dt>{f.name}</dt>
							<dd class={f.set ? 'strong' : ''}>
								<bdi>{f.text}</bdi>
							</dd>
						</div>
					))}
				</dl>
			)}
			{(routes.data?.items.length ?? 0) > 0 && (
				<>
					<h3>Paths that other apps serve</h3>
					<ul class="lines">
						{routes.data!.items.map((r) => (
							<li key={r.path}>
								<code class="line-main">{visible(r.path, 128)}</code>
								{r.app ? <Link href={appHref(r.app)}>{visible(r.app, 60)}</Link> : <span class="bad-text">deleted app</span>}
								{r.strip && <span class="muted">prefix taken off</span>}
							</li>
						))}
					</ul>
				</>
			)}
			{p.mayChange && front.data && (
				<div class="row-end">
					<button
						aria-pressed={hold}
						onClick={() =>
							void act(
								() => send('PATCH', p.path, { serving: { hold: !hold } }).then(refresh),
								hold ? 'Requests go on.' : 'Requests wait now, each up to two minutes.',
							)
						}
					>
						{hold ? 'Let requests go on' : 'Hold requests'}
					</button>
					<button
						aria-pressed={on}
						onClick={() =>
							on
								? void act(() => send('PATCH', url, { maintenance: { on: false } }).then(refresh), 'Maintenance is over.')
								: ask({
										title: `Show the maintenance page of ${p.app.name}?`,
										text: 'Visitors see a page instead of the app, with status 503, until it is turned off. Instances go on.',
										verb: 'Show it',
										danger: true,
										act: () => send('PATCH', url, { maintenance: { on: true } }).then(refresh),
										done: 'Visitors see the maintenance page.',
									})
						}
					>
						{on ? 'End maintenance' : 'Maintenance'}
					</button>
				</div>
			)}
		</Card>
	);
}

function Side(p: { name: string; requests: number | undefined; errors: number | undefined; bad: boolean }): JSX.Element {
	return (
		<tr>
			<th scope="row">{p.name}</th>
			<td class="num">{count(p.requests)}</td>
			<td class="num">{count(p.errors)}</td>
			<td class={`num ${p.bad ? 'bad-text strong' : ''}`}>{p.requests ? fraction(errorShare(p.requests, p.errors)) : '–'}</td>
		</tr>
	);
}

export function CanaryCard(p: { app: App; path: string; mayChange: boolean; changed: () => void }): JSX.Element {
	const url = `${p.path}/canary`;
	const { data: c, error, refresh } = usePoll(url, (s) => get<Canary>(url, s), CANARY_MS);
	const [weight, setWeight] = useState('10');
	const [problem, setProblem] = useState<unknown>(null);
	const [busy, setBusy] = useState(false);
	const done = (): void => {
		refresh();
		p.changed();
	};

	async function start(e: SubmitEvent): Promise<void> {
		e.preventDefault();
		setBusy(true);
		setProblem(null);
		try {
			await send('PUT', url, { version: c?.version ?? 'next', weight: Number(weight) });
			done();
		} catch (err) {
			setProblem(err);
		}
		setBusy(false);
	}

	const there = c !== undefined && c.version !== null;
	const worse = c !== undefined && canaryWorse(c);
	return (
		<Card title="Canary" tools={there ? <Badge state={c.state ?? 'starting'} /> : undefined}>
			<Problem error={error} retry={refresh} />
			{!c && !error && <p class="quiet">Loading…</p>}
			{c && (
				<>
					<p class={there ? '' : 'quiet'}>
						{there && <strong>{c.version === 'next' ? 'Next release. ' : `v${c.version}. `}</strong>}
						{canaryWords(c)}
					</p>
					{there && (
						<>
							<dl class="facts">
								<div>
									<dt>Gets</dt>
									<dd>
										{c.weight ?? 0} % of the requests
										<Bar small plain value={c.weight ?? 0} label="Share of the requests that the canary gets" />
									</dd>
								</div>
								{c.header && (
									<div>
										<dt>and all with</dt>
										<dd>
											<code>{visible(c.header, 140)}</code>
										</dd>
									</div>
								)}
							</dl>
							{c.stats && (
								<table class="sides">
									<caption class="quiet">
										Since it began, <Ago time={c.stats.since} />
									</caption>
									<Head columns={['Side', num('Requests'), num('Errors'), num('Share')]} />
									<tbody>
										<Side name="Canary" requests={c.stats.requests} errors={c.stats.errors} bad={worse} />
										<Side name="Live" requests={c.stats.live_requests} errors={c.stats.live_errors} bad={false} />
									</tbody>
								</table>
							)}
							{worse && (
								<p class="bad-text" role="status">
									It fails clearly more often than the live release.
								</p>
							)}
						</>
					)}
					{p.mayChange && p.app.release && c.state !== 'promoting' && (
						<form class="add" onSubmit={(e) => void start(e)}>
							<label for="canary-weight">{there ? 'Per cent' : 'Next deploy gets %'}</label>
							<input
								id="canary-weight"
								type="number"
								min={0}
								max={100}
								required
								value={weight}
								onInput={(e) => setWeight(e.currentTarget.value)}
							/>
							<button type="submit" disabled={busy}>
								{there ? 'Set' : 'Arm'}
							</button>
						</form>
					)}
					<Problem error={problem} />
					{p.mayChange && there && c.state !== 'promoting' && (
						<div class="row-end">
							<button
								onClick={() =>
									ask({
										title: c.version === 'next' ? 'Disarm the canary?' : `Abort the canary v${c.version}?`,
										text: 'The live release serves alone. Requests that the canary has end first.',
										verb: c.version === 'next' ? 'Disarm' : 'Abort',
										danger: true,
										act: () => send('DELETE', url).then(done),
										done: 'The live release serves alone.',
									})
								}
							>
								{c.version === 'next' ? 'Disarm' : 'Abort'}
							</button>
							{c.version !== 'next' && (
								<button
									class="primary"
									disabled={c.state !== 'serving'}
									onClick={() =>
										ask({
											title: `Promote v${c.version}?`,
											text: 'It is rolled out as the app’s release. What runs of it counts; no request is lost.',
											verb: 'Promote',
											act: () => send('POST', `${url}/promote`).then(done),
											done: 'The canary is being rolled out.',
										})
									}
								>
									Promote
								</button>
							)}
						</div>
					)}
				</>
			)}
		</Card>
	);
}

const TIMES: { key: 'duration' | 'upstream' | 'queue'; name: string; title: string }[] = [
	{ key: 'duration', name: 'Whole request', title: 'From its head to the end of the answer' },
	{ key: 'upstream', name: 'App’s answer', title: 'From the head given to an instance to the head of its answer' },
	{ key: 'queue', name: 'Waiting', title: 'Of requests that waited for an instance: how long' },
];

function Times(p: { of: LatencyOf | undefined }): JSX.Element {
	const cell = (q: Quantiles | null | undefined, k: 'p50_ms' | 'p95_ms' | 'p99_ms'): string => (q ? millis(q[k]) : '–');
	return (
		<div class="table-box">
			<table class="latency">
				<Head columns={['Time of', num('Median'), num('p95'), num('p99'), num('Requests')]} />
				<tbody>
					{TIMES.map((t) => (
						<tr key={t.key}>
							<th scope="row" title={t.title}>
								{t.name}
							</th>
							<td class="num">{cell(p.of?.[t.key], 'p50_ms')}</td>
							<td class="num">{cell(p.of?.[t.key], 'p95_ms')}</td>
							<td class="num">{cell(p.of?.[t.key], 'p99_ms')}</td>
							<td class="num">{count(p.of?.[t.key]?.count ?? 0)}</td>
						</tr>
					))}
				</tbody>
			</table>
		</div>
	);
}

export function LatencyCard(p: { path: string }): JSX.Element {
	const url = `${p.path}/latency`;
	const { data, error, refresh } = usePoll(url, (s) => get<Latency>(url, s), LATENCY_MS);
	const [all, setAll] = useState(false);
	const of = all ? data?.total : data?.recent;
	const parts = statusParts(of?.status);
	const refused = refusals(data?.refused);
	return (
		<Card
			title="How requests fare"
			tools={
				<div class="segments" role="group" aria-label="Of which time">
					<button aria-pressed={!all} onClick={() => setAll(false)}>
						{data?.recent?.seconds ? `Last ${span(data.recent.seconds)}` : 'Last 5 min'}
					</button>
					<button aria-pressed={all} onClick={() => setAll(true)}>
						All
					</button>
				</div>
			}
		>
			<Problem error={error} retry={refresh} />
			<Times of={of} />
			{parts.length > 0 ? (
				<>
					<div class="split" aria-hidden="true">
						{parts.map((x) => (
							<div key={x.name} class={`split-${x.name}`} style={{ width: `${x.part}%` }} />
						))}
					</div>
					<ul class="split-names" aria-label="Answers by status">
						{parts.map((x) => (
							<li key={x.name}>
								<span class={`split-dot split-${x.name}`} aria-hidden="true" />
								{x.name === 'none' ? 'no answer' : x.name} <strong>{fraction(x.part / 100)}</strong>{' '}
								<span class="muted">{count(x.count)}</span>
							</li>
						))}
					</ul>
				</>
			) : (
				data && <p class="quiet">No requests in this time.</p>
			)}
			{refused.length > 0 && (
				<>
					<h3>Refused by the front door, in all</h3>
					<ul class="refused">
						{refused.map((r) => (
							<li key={r.key}>
								<Foreign text={r.text} max={80} /> <strong>{count(r.count)}</strong>
							</li>
						))}
					</ul>
				</>
			)}
		</Card>
	);
}
