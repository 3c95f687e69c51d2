// Small pieces that every page uses. Foreign text is always a child, so always a text node.
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { words } from './api';
import { ago, visible } from './format';
import { STATE_TONE, type Words } from './words';

export function Logo(): JSX.Element {
	return (
		<svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
			<circle cx="16" cy="16" r="13" class="logo-wall" />
			<circle cx="16" cy="16" r="5.2" class="logo-court" />
		</svg>
	);
}

export function Badge(p: { state: string | null | undefined }): JSX.Element {
	const state = p.state || 'unknown';
	return <span class={`badge tone-${STATE_TONE[state] ?? 'idle'}`}>{visible(state, 24)}</span>;
}

/** Text of a tenant's. Isolated, so that its direction cannot reorder what stands beside it. */
export function Foreign(p: { text: string | undefined; max?: number; class?: string }): JSX.Element {
	const t = visible(p.text ?? '', p.max ?? 400);
	return (
		<bdi class={p.class} title={t.length > 60 ? t : undefined}>
			{t}
		</bdi>
	);
}

/** `plain`: being full is no trouble. */
export function Bar(p: {
	value: number;
	mark?: number | undefined;
	label: string;
	small?: boolean;
	plain?: boolean;
}): JSX.Element {
	const tone = p.plain ? '' : p.value >= 95 ? 'hot' : p.value >= 80 ? 'warm' : '';
	return (
		<div
			class={`bar ${p.small ? 'bar-small' : ''}`}
			role="meter"
			aria-label={p.label}
			aria-valuemin={0}
			aria-valuemax={100}
			aria-valuenow={Math.round(p.value)}
		>
			<div class={`bar-fill ${tone}`} style={{ width: `${p.value}%` }} />
			{p.mark !== undefined && <div class="bar-mark" style={{ left: `${Math.min(100, p.mark)}%` }} />}
		</div>
	);
}

export function Tile(p: {
	name: string;
	value: ComponentChildren;
	of?: ComponentChildren;
	children?: ComponentChildren;
	note?: ComponentChildren;
}): JSX.Element {
	return (
		<div class="tile">
			<div class="tile-name">{p.name}</div>
			<div class="tile-value">
				{p.value}
				{p.of !== undefined && <span class="tile-of"> / {p.of}</span>}
			</div>
			{p.children}
			{p.note !== undefined && <div class="tile-note">{p.note}</div>}
		</div>
	);
}

export function Card(p: {
	title: string;
	id?: string;
	tools?: ComponentChildren;
	class?: string;
	children: ComponentChildren;
}): JSX.Element {
	const id = p.id ?? p.title.toLowerCase().replace(/[^a-z]+/g, '-');
	return (
		<section class={`card ${p.class ?? ''}`} aria-labelledby={id}>
			<header class="card-head">
				<h2 id={id}>{p.title}</h2>
				{p.tools !== undefined && <div class="card-tools">{p.tools}</div>}
			</header>
			{p.children}
		</section>
	);
}

interface Column {
	name?: string;
	/** In place of a name that is plain to see. */
	label?: string;
	title?: string;
	num?: boolean;
}

/** A column of figures. */
export const num = (name: string, title?: string): Column => ({ name, num: true, ...(title && { title }) });

/** The head of a table. */
export function Head(p: { columns: readonly (string | Column)[] }): JSX.Element {
	return (
		<thead>
			<tr>
				{p.columns.map((c) => {
					const of: Column = typeof c === 'string' ? { name: c } : c;
					return (
						<th key={of.name ?? of.label} scope="col" class={of.num ? 'num' : undefined} title={of.title} aria-label={of.label}>
							{of.name}
						</th>
					);
				})}
			</tr>
		</thead>
	);
}

/** One line of text that is no prose. */
export function Field(p: {
	label: string;
	placeholder: string;
	max: number;
	required?: boolean;
	value: string;
	set: (value: string) => void;
}): JSX.Element {
	return (
		<input
			aria-label={p.label}
			placeholder={p.placeholder}
			required={p.required}
			maxLength={p.max}
			autocomplete="off"
			spellcheck={false}
			value={p.value}
			onInput={(e) => p.set(e.currentTarget.value)}
		/>
	);
}

export function Problem(p: { error: unknown; retry?: (() => void) | undefined }): JSX.Element | null {
	if (!p.error) return null;
	return (
		<p class="problem" role="alert">
			{visible(words(p.error), 600)}{' '}
			{p.retry && (
				<button class="link" onClick={p.retry}>
					Try again
				</button>
			)}
		</p>
	);
}

export function Callout(p: { words: Words; children?: ComponentChildren }): JSX.Element {
	const w = p.words;
	return (
		<div class={`callout tone-${w.tone}`}>
			<strong>{w.title}</strong>
			<span>
				{w.detail && <bdi>{w.detail}</bdi>} {w.next && <span class="callout-next">{w.next}</span>}
			</span>
			{p.children}
		</div>
	);
}

export function useNow(everyMs = 5000): number {
	const [now, set] = useState(Date.now());
	useEffect(() => {
		const t = setInterval(() => !document.hidden && set(Date.now()), everyMs);
		return () => clearInterval(t);
	}, [everyMs]);
	return now;
}

export function Ago(p: { time: string | null | undefined }): JSX.Element {
	const now = useNow();
	return (
		<time dateTime={p.time ?? undefined} title={p.time ?? undefined}>
			{ago(p.time, now)}
		</time>
	);
}

/* A modal question. <dialog> keeps the focus inside and closes on Escape. */
export function Dialog(p: { title: string; onClose: () => void; children: ComponentChildren }): JSX.Element {
	const ref = useRef<HTMLDialogElement>(null);
	useEffect(() => {
		const back = document.activeElement;
		ref.current?.showModal();
		return () => {
			if (back instanceof HTMLElement) back.focus();
		};
	}, []);
	return (
		<dialog
			ref={ref}
			aria-labelledby="dialog-title"
			onClose={p.onClose}
			onClick={(e) => e.target === ref.current && ref.current?.close()}
		>
			<div class="dialog-body">
				<h2 id="dialog-title">{p.title}</h2>
				{p.children}
			</div>
		</dialog>
	);
}

export interface Question {
	title: string;
	text: string;
	verb: string;
	danger?: boolean;
	act: () => Promise<unknown>;
	done: string;
}

interface Said {
	text: string;
	bad: boolean;
}

let sayNow: (s: Said) => void = () => undefined;
let askNow: (q: Question) => void = () => undefined;

export const say = (text: string): void => sayNow({ text, bad: false });
export const sayProblem = (e: unknown): void => sayNow({ text: visible(words(e), 600), bad: true });
/** Asks before it acts; errors are said in words. */
export const ask = (q: Question): void => askNow(q);

/** Acts without a question. True when it went well. */
export async function act(fn: () => Promise<unknown>, done: string): Promise<boolean> {
	try {
		await fn();
		if (done) say(done);
		return true;
	} catch (e) {
		sayProblem(e);
		return false;
	}
}

const SAID_MS = 6000;

/** Where questions and messages appear; once, at the root. */
export function Voice(): JSX.Element {
	const [said, setSaid] = useState<Said | null>(null);
	const [question, setQuestion] = useState<Question | null>(null);
	const [busy, setBusy] = useState(false);
	const [failed, setFailed] = useState<unknown>(null);
	useEffect(() => {
		let t: ReturnType<typeof setTimeout>;
		sayNow = (s) => {
			setSaid(s);
			clearTimeout(t);
			t = setTimeout(() => setSaid(null), s.bad ? SAID_MS * 2 : SAID_MS);
		};
		askNow = (q) => {
			setFailed(null);
			setBusy(false);
			setQuestion(q);
		};
	}, []);
	async function yes(q: Question): Promise<void> {
		setBusy(true);
		setFailed(null);
		try {
			await q.act();
			setQuestion(null);
			say(q.done);
		} catch (e) {
			setFailed(e);
		}
		setBusy(false);
	}
	return (
		<>
			{question && (
				<Dialog title={question.title} onClose={() => setQuestion(null)}>
					<p>{question.text}</p>
					<Problem error={failed} />
					<div class="dialog-buttons">
						<button onClick={() => setQuestion(null)}>Cancel</button>
						<button class={question.danger ? 'danger' : 'primary'} disabled={busy} onClick={() => void yes(question)}>
							{question.verb}
						</button>
					</div>
				</Dialog>
			)}
			<div class="voice" role="status" aria-live="polite">
				{said && (
					<div class={`said ${said.bad ? 'said-bad' : ''}`}>
						<span>{said.text}</span>
						<button class="link" aria-label="Dismiss" onClick={() => setSaid(null)}>
							✕
						</button>
					</div>
				)}
			</div>
		</>
	);
}
