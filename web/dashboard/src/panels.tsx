// The parts of an app's page that list and change things.
import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { get, send } from './api';
import { bytes, count, cpuTime, percent, visible } from './format';
import { usePoll } from './poll';
import type { App, Build, Instance, Release } from './types';
import { act, Ago, ask, Badge, Bar, Card, Field, Foreign, Head, num, Problem, say } from './ui';

const SHOWN = 8;
const CONFIG_MS = 30_000;
const INSTANCES_SHOWN = 100; // the most of one type is 100

function copy(text: string): void {
	// navigator.clipboard exists only on https and localhost.
	if (navigator.clipboard)
		navigator.clipboard.writeText(text).then(
			() => say('Copied.'),
			() => say('The browser did not allow copying.'),
		);
	else say('Select the text and copy it: the browser allows no more here.');
}

export function Push(p: { app: App; bare?: boolean }): JSX.Element {
	const git = p.app.git_url ?? `${location.origin}/git/${encodeURIComponent(p.app.name)}.git`;
	const withUser = git.replace(/^(https?:\/\/)(?:[^/@]*@)?/, '$1tulou@');
	const lines = `git remote add tulou ${visible(withUser, 300)}\ngit push tulou main`;
	const body = (
		<>
			<p>In the folder of the app’s source:</p>
			<div class="code">
				<pre tabIndex={0}>{lines}</pre>
				<button onClick={() => copy(lines)}>Copy</button>
			</div>
			<p class="quiet">
				git asks for a password: give it a token that may deploy. The build’s log shows in git’s own output; a build
				that fails rejects the push. Node.js, Python and static sites are recognised, and anything with a{' '}
				<code>Procfile</code>. The app is to listen on <code>$PORT</code>.
			</p>
		</>
	);
	return p.bare ? <div>{body}</div> : <Card title="Deploy it with git">{body}</Card>;
}

export function Instances(p: {
	path: string;
	list: Instance[] | undefined;
	error: unknown;
	mayStop: boolean;
	waiting?: string | null;
	changed: () => void;
}): JSX.Element {
	const list = [...(p.list ?? [])].sort((a, b) =>
		a.type < b.type ? -1 : a.type > b.type ? 1 : Number(a.id) - Number(b.id),
	);
	return (
		<Card title="Instances">
			<Problem error={p.error} />
			{p.waiting && (
				<p class="warn-text" role="status">
					Waiting: <Foreign text={p.waiting} max={300} />
				</p>
			)}
			{list.length === 0 && !p.error && <p class="quiet">{p.list ? 'None runs.' : 'Loading…'}</p>}
			{list.length > 0 && (
				<div class="table-box">
					<table class="instances">
						<Head
							columns={[
								'Type',
								'State',
								'Release',
								'Memory',
								num('CPU time'),
								num('Processes'),
								'Started',
								num('Restarts'),
								...(p.mayStop ? [{ label: 'Actions' }] : []),
							]}
						/>
						<tbody>
							{list.slice(0, INSTANCES_SHOWN).map((i) => (
								<tr key={i.id}>
									<th scope="row">
										<Foreign text={i.type} max={24} /> <span class="muted">#{visible(i.id, 24)}</span>
									</th>
									<td>
										<Badge state={i.state} />
										{i.throttle && (
											<span title={visible(i.throttle.reason ?? '', 200)}>
												{' '}
												<Badge state={i.throttle.state} />
											</span>
										)}
										{i.reason && <Foreign text={i.reason} class="reason" max={200} />}
										{i.pending && <Foreign text={`Pending: ${i.pending}`} class="reason" max={220} />}
									</td>
									<td>v{i.release}</td>
									<td class="cell-memory">
										{bytes(i.memory_bytes)} <span class="muted">/ {bytes(i.memory_limit_bytes)}</span>
										<Bar small value={percent(i.memory_bytes, i.memory_limit_bytes)} label="Memory of its limit" />
									</td>
									<td class="num">{cpuTime(i.cpu_seconds)}</td>
									<td class="num">{count(i.pids)}</td>
									<td>
										<Ago time={i.started_at} />
									</td>
									<td class="num">{count(i.restarts)}</td>
									{p.mayStop && (
										<td class="num">
											<button
												class="link"
												aria-label={`Replace instance ${i.id}`}
												onClick={() =>
													ask({
														title: `Replace ${i.type} #${i.id}?`,
														text: 'The instance is stopped and another is started in its place.',
														verb: 'Replace',
														act: () =>
															send('DELETE', `${p.path}/instances/${encodeURIComponent(i.id)}`).then(p.changed),
														done: 'The instance is being replaced.',
													})
												}
											>
												Replace
											</button>
										</td>
									)}
								</tr>
							))}
						</tbody>
					</table>
				</div>
			)}
		</Card>
	);
}

const SCALE_MAX = 100; // LIMIT_INSTANCES_PER_TYPE

export function Formation(p: {
	app: App;
	path: string;
	releases: Release[] | undefined;
	mayScale: boolean;
	changed: () => void;
}): JSX.Element {
	const now = p.app.formation ?? {};
	const [draft, setDraft] = useState<Record<string, number>>({});
	const [busy, setBusy] = useState(false);
	const commands = p.releases?.find((r) => r.version === p.app.release?.version)?.types ?? {};
	const types = [...new Set([...Object.keys(commands), ...Object.keys(now)])].sort(
		(a, b) => Number(b === 'web') - Number(a === 'web') || (a < b ? -1 : 1),
	);
	const wanted = (t: string): number => draft[t] ?? now[t] ?? 0;
	const dirty = types.some((t) => wanted(t) !== (now[t] ?? 0));

	async function apply(): Promise<void> {
		setBusy(true);
		const body = Object.fromEntries(types.map((t) => [t, wanted(t)]));
		if (await act(() => send('PUT', `${p.path}/formation`, body), 'Scaled.')) {
			setDraft({});
			p.changed();
		}
		setBusy(false);
	}

	return (
		<Card title="Formation">
			<ul class="formation">
				{types.map((t) => (
					<li key={t}>
						<div class="formation-type">
							<Foreign text={t} max={24} class="strong" />
							{commands[t] && <code title={visible(commands[t]!, 1000)}>{visible(commands[t]!, 80)}</code>}
						</div>
						<div class="stepper">
							{p.mayScale && (
								<button
									aria-label={`One ${t} less`}
									disabled={busy || wanted(t) <= 0}
									onClick={() => setDraft({ ...draft, [t]: wanted(t) - 1 })}
								>
									−
								</button>
							)}
							<output class={wanted(t) !== (now[t] ?? 0) ? 'changed' : ''} aria-live="polite">
								{wanted(t)}
							</output>
							{p.mayScale && (
								<button
									aria-label={`One ${t} more`}
									disabled={busy || wanted(t) >= SCALE_MAX}
									onClick={() => setDraft({ ...draft, [t]: wanted(t) + 1 })}
								>
									+
								</button>
							)}
						</div>
					</li>
				))}
			</ul>
			{types.length === 0 && <p class="quiet">The release names no process type.</p>}
			{dirty && (
				<div class="row-end">
					<button onClick={() => setDraft({})}>Undo</button>
					<button class="primary" disabled={busy} onClick={() => void apply()}>
						Scale
					</button>
				</div>
			)}
		</Card>
	);
}

export function Releases(p: {
	app: App;
	path: string;
	releases: Release[] | undefined;
	error: unknown;
	mayRoll: boolean;
	changed: () => void;
}): JSX.Element {
	const [all, setAll] = useState(false);
	const list = [...(p.releases ?? [])].sort((a, b) => b.version - a.version);
	return (
		<Card title="Releases">
			<Problem error={p.error} />
			<ol class="lines">
				{list.slice(0, all ? list.length : SHOWN).map((r) => (
					<li key={r.version}>
						<div class="line-main">
							<strong>v{r.version}</strong> <Foreign text={r.note} max={120} />
							<div class="muted">
								<Ago time={r.created_at} />
							</div>
						</div>
						{r.state !== 'retired' && <Badge state={r.state} />}
						{p.mayRoll && r.state === 'retired' && (
							<button
								onClick={() =>
									ask({
										title: `Roll back to v${r.version}?`,
										text:
											'What v' +
											r.version +
											' ran is made a new release, without a build. It is started and checked before any request goes to it.',
										verb: 'Roll back',
										act: () => send('POST', `${p.path}/rollback`, { version: r.version }).then(p.changed),
										done: `Rolling back to v${r.version}.`,
									})
								}
							>
								Roll back
							</button>
						)}
					</li>
				))}
			</ol>
			{list.length > SHOWN && (
				<button class="link" onClick={() => setAll(!all)}>
					{all ? 'Show fewer' : `Show all ${list.length}`}
				</button>
			)}
		</Card>
	);
}

export function Builds(p: { path: string; builds: Build[] | undefined; error: unknown }): JSX.Element | null {
	const list = [...(p.builds ?? [])].sort((a, b) => Number(b.id) - Number(a.id)).slice(0, SHOWN);
	if (!list.length && !p.error) return null;
	return (
		<Card title="Builds">
			<Problem error={p.error} />
			<ol class="lines">
				{list.map((b) => (
					<li key={b.id}>
						<div class="line-main">
							<strong>
								{b.commit ? <code>{visible(b.commit, 64).slice(0, 9)}</code> : visible(b.source ?? 'build', 16)}
							</strong>{' '}
							<span class="muted">
								{b.buildpack && <Foreign text={b.buildpack} max={32} />}{' '}
								{b.size_bytes ? `· ${bytes(b.size_bytes)}` : ''} · <Ago time={b.created_at} />
							</span>
							{b.error && <Foreign text={b.error} class="reason" max={300} />}
						</div>
						<Badge state={b.state} />
						<a href={`${p.path}/builds/${encodeURIComponent(String(b.id))}/log`} target="_blank" rel="noopener">
							Log
						</a>
					</li>
				))}
			</ol>
		</Card>
	);
}

export function Config(p: { path: string; live: boolean; changed: () => void }): JSX.Element {
	const url = `${p.path}/config`;
	const { data, error, refresh } = usePoll(url, (s) => get<Record<string, string>>(url, s), CONFIG_MS);
	const [shown, setShown] = useState<ReadonlySet<string>>(new Set());
	const [key, setKey] = useState('');
	const [value, setValue] = useState('');
	const [problem, setProblem] = useState<unknown>(null);
	const [busy, setBusy] = useState(false);
	const keys = Object.keys(data ?? {}).sort();

	function toggle(k: string): void {
		const s = new Set(shown);
		if (!s.delete(k)) s.add(k);
		setShown(s);
	}

	async function add(e: SubmitEvent): Promise<void> {
		e.preventDefault();
		setBusy(true);
		setProblem(null);
		try {
			await send('PATCH', url, { [key.trim()]: value });
			say(p.live ? `${key.trim()} is set. A new release with it is being started.` : `${key.trim()} is set.`);
			setKey('');
			setValue('');
			refresh();
			p.changed();
		} catch (err) {
			setProblem(err);
		}
		setBusy(false);
	}

	return (
		<Card title="Config vars">
			<Problem error={error} retry={refresh} />
			{data && keys.length === 0 && <p class="quiet">None. They reach the app as environment variables.</p>}
			<ul class="lines">
				{keys.map((k) => (
					<li key={k} class="config">
						<div class="line-main">
							<code class="strong">{visible(k, 128)}</code>
							{shown.has(k) && <pre class="secret">{visible(data![k] ?? '', 4000)}</pre>}
						</div>
						<button
							class="link"
							aria-expanded={shown.has(k)}
							aria-label={`${shown.has(k) ? 'Hide' : 'Show'} the value of ${k}`}
							onClick={() => toggle(k)}
						>
							{shown.has(k) ? 'Hide' : 'Show'}
						</button>
						<button
							class="link"
							aria-label={`Remove ${k}`}
							onClick={() =>
								ask({
									title: `Remove ${visible(k, 60)}?`,
									text: p.live
										? 'A new release without it is made and started.'
										: 'The next release will be without it.',
									verb: 'Remove',
									danger: true,
									act: () =>
										send('PATCH', url, { [k]: null }).then(() => {
											refresh();
											p.changed();
										}),
									done: 'Removed.',
								})
							}
						>
							Remove
						</button>
					</li>
				))}
			</ul>
			<form class="add" onSubmit={(e) => void add(e)}>
				<Field label="Name of the variable" placeholder="NAME" required max={128} value={key} set={setKey} />
				<Field label="Value" placeholder="value" max={32768} value={value} set={setValue} />
				<button type="submit" disabled={busy || !key.trim()}>
					Set
				</button>
			</form>
			<Problem error={problem} />
		</Card>
	);
}
