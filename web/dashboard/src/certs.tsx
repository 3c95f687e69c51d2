// An app's domains with their certificates; for the operator the certificates of the node that end soon.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { get, send } from './api';
import { plural, until, visible } from './format';
import { usePoll } from './poll';
import { appHref, Link } from './router';
import type { Certificate, Domain, HostCertificate, List } from './types';
import { act, ask, Badge, Card, Field, Foreign, Problem, say, useNow } from './ui';

const DOMAINS_MS = 30_000;
const EXPIRING_MS = 60_000;
const EXPIRING_SHOWN = 10;

interface Certificates extends List<Certificate> {
	hosts?: HostCertificate[];
}

function End(p: { time: string | null | undefined; plain?: boolean }): JSX.Element {
	const now = useNow(60_000);
	const u = until(p.time, now);
	return (
		<time dateTime={p.time ?? undefined} title={p.time ?? undefined} class={p.plain ? '' : u.tone === 'bad' ? 'bad-text' : u.tone === 'warn' ? 'warn-text' : ''}>
			{u.text}
		</time>
	);
}

function HostLine(p: { of: HostCertificate | undefined; certs: readonly Certificate[] }): JSX.Element | null {
	const c = p.of;
	const ocsp = p.certs.find((x) => c?.certificate && String(x.id) === String(c.certificate))?.ocsp;
	if (!c || c.state === 'off') return null;
	return (
		<div class="host-cert">
			<Badge state={c.state === 'none' ? 'no certificate' : c.state === 'issued' ? 'certificate' : c.state} />
			{c.not_after && (
				<span>
					{c.origin === 'acme' ? 'renewed by itself, ends ' : 'ends '}
					<End time={c.not_after} />
				</span>
			)}
			{ocsp?.status === 'revoked' && <strong class="bad-text">revoked by its authority</strong>}
			{ocsp && ocsp.status !== 'revoked' && <span class="muted">{ocsp.stapled ? 'stapled' : 'not stapled yet'}</span>}
			{c.next_try && c.state !== 'issued' && (
				<span class="muted">
					next try <End time={c.next_try} plain />
				</span>
			)}
			{c.error && <Foreign text={c.error} class="reason" max={300} />}
		</div>
	);
}

export function Domains(p: { path: string; mayChange: boolean; url: string | undefined }): JSX.Element {
	const url = `${p.path}/domains`;
	const { data, error, refresh } = usePoll(url, (s) => get<List<Domain | string>>(url, s), DOMAINS_MS);
	const certs = usePoll(`${p.path}/certificates`, (s) => get<Certificates>(`${p.path}/certificates`, s), DOMAINS_MS);
	const [host, setHost] = useState('');
	const [problem, setProblem] = useState<unknown>(null);
	useEffect(() => setProblem(null), [host]);
	const domains = (data?.items ?? []).map((d) => (typeof d === 'string' ? { host: d } : d));
	const byHost = new Map((certs.data?.hosts ?? []).map((c) => [c.host, c]));
	const others = (certs.data?.hosts ?? []).filter((c) => !domains.some((d) => d.host === c.host));
	const renewable = (certs.data?.hosts ?? []).some((c) => c.origin === 'acme' || c.state === 'failed' || c.state === 'pending');

	async function add(e: SubmitEvent): Promise<void> {
		e.preventDefault();
		try {
			const d = await send<Domain>('POST', url, { host: host.trim() });
			say(d?.state === 'pending' ? `${host.trim()} waits for its proof.` : `${host.trim()} now leads to this app.`);
			setHost('');
			refresh();
			certs.refresh();
		} catch (err) {
			setProblem(err);
		}
	}

	return (
		<Card
			title="Domains"
			tools={
				<>
					{data && domains.length > 3 && <span class="muted">{plural(domains.length, 'domain')}</span>}
					{p.mayChange && renewable && (
						<button
							onClick={() =>
								void act(() => send('POST', `${p.path}/certificates/renew`, {}).then(certs.refresh), 'Certificates are being ordered.')
							}
						>
							Renew certificates
						</button>
					)}
				</>
			}
		>
			<Problem error={error ?? certs.error} retry={refresh} />
			{data && domains.length === 0 && (
				<p class="quiet">None of its own{p.url ? '; it answers at its address above' : ''}.</p>
			)}
			<ul class="lines">
				{domains.map((d) => (
					<li key={d.host}>
						<div class="line-main">
							<Foreign text={d.host} max={253} class="strong" />
							{d.state === 'pending' && (
								<div class="proof">
									<Badge state="pending" /> set this record, then it is served:
									<code>
										{visible(d.record?.name ?? '', 260)} TXT {visible(d.record?.value ?? '', 120)}
									</code>
								</div>
							)}
							<HostLine of={byHost.get(d.host)} certs={certs.data?.items ?? []} />
						</div>
						{p.mayChange && (
							<button
								class="link"
								aria-label={`Remove ${d.host}`}
								onClick={() =>
									ask({
										title: `Remove ${visible(d.host, 253)}?`,
										text: 'Requests for this name are answered 404 from now on.',
										verb: 'Remove',
										danger: true,
										act: () => send('DELETE', `${url}/${encodeURIComponent(d.host)}`).then(refresh),
										done: 'Removed.',
									})
								}
							>
								Remove
							</button>
						)}
					</li>
				))}
				{others.map((c) => (
					<li key={c.host}>
						<div class="line-main">
							<Foreign text={c.host} max={253} />
							<HostLine of={c} certs={certs.data?.items ?? []} />
						</div>
					</li>
				))}
			</ul>
			{p.mayChange && (
				<form class="add" onSubmit={(e) => void add(e)}>
					<Field label="Domain to add" placeholder="shop.example.com" required max={253} value={host} set={setHost} />
					<button type="submit" disabled={!host.trim()}>
						Add
					</button>
				</form>
			)}
			<Problem error={problem} />
		</Card>
	);
}

/** Nothing to see while none ends soon and none has failed. */
export function Expiring(): JSX.Element {
	const url = '/v1/node/certificates?within=30d';
	const { data, error, refresh } = usePoll(url, (s) => get<List<Certificate>>(url, s), EXPIRING_MS);
	const list = data?.items ?? [];
	return (
		<Card title="Certificates that end soon" tools={list.length > 0 ? <span class="muted">{plural(list.length, 'certificate')}</span> : undefined}>
			<Problem error={error} retry={refresh} />
			{data && list.length === 0 && <p class="quiet">None within 30 days.</p>}
			<ul class="lines">
				{list.slice(0, EXPIRING_SHOWN).map((c) => (
					<li key={c.id}>
						<div class="line-main">
							<Foreign text={(c.names ?? []).slice(0, 3).join(', ')} max={200} class="strong" />{' '}
							<span class="muted">
								{c.app ? <Link href={appHref(c.app)}>{visible(c.app, 60)}</Link> : 'the node’s own'} · {visible(c.origin ?? '', 20)}
							</span>
						</div>
						<End time={c.not_after} />
					</li>
				))}
			</ul>
			{list.length > EXPIRING_SHOWN && <p class="quiet">and {plural(list.length - EXPIRING_SHOWN, 'more')}</p>}
		</Card>
	);
}
