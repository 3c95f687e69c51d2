// Events and logs as they happen.
import type { JSX } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { get } from './api';
import { clock, logLine, visible, type LogLine } from './format';
import { appHref, Link } from './router';
import { follow, type StreamState } from './sse';
import type { Event, List } from './types';
import { Ago, Card, Foreign } from './ui';

const EVENTS_KEPT = 100;
const EVENTS_SHOWN = 30;

const STREAM_WORDS: Record<StreamState, string> = {
	connecting: 'connecting…',
	live: 'live',
	waiting: 'reconnecting…',
	refused: 'not available',
};

function StreamDot(p: { state: StreamState; why: string }): JSX.Element {
	return (
		<span class={`dot dot-${p.state}`} title={p.why || undefined}>
			{STREAM_WORDS[p.state]}
		</span>
	);
}

function parseEvent(data: string): Event | null {
	try {
		const e = JSON.parse(data) as Event;
		return e && typeof e === 'object' && typeof e.text === 'string' && typeof e.kind === 'string' ? e : null;
	} catch {
		return null;
	}
}

/** Newest first, each id once, bounded. Pure. */
export function mergeEvents(have: readonly Event[], add: readonly Event[]): Event[] {
	const m = new Map<string, Event>();
	for (const e of [...have, ...add]) m.set(String(e.id), e);
	return [...m.values()].sort((a, b) => Number(b.id) - Number(a.id)).slice(0, EVENTS_KEPT);
}

export interface Events {
	items: Event[];
	state: StreamState;
	why: string;
}

/** The newest events of `path`, then each as it comes. `onEvent` hears the ones that came live. */
export function useEvents(path: string, onEvent: (e: Event) => void): Events {
	const [items, setItems] = useState<Event[]>([]);
	const [state, setState] = useState<{ state: StreamState; why: string }>({ state: 'connecting', why: '' });
	const heard = useRef(onEvent);
	heard.current = onEvent;
	useEffect(() => {
		let stop: (() => void) | undefined;
		let gone = false;
		let cursor = '';
		setItems([]);
		const first = new AbortController();
		const begin = (start: Event[]): void => {
			if (gone) return;
			const merged = mergeEvents([], start);
			setItems(merged);
			cursor = merged.length ? String(merged[0]!.id) : '';
			stop = follow({
				url: () => `${path}?follow=1${cursor ? `&after=${encodeURIComponent(cursor)}` : ''}`,
				state: (s, why) => setState({ state: s, why }),
				messages: (ms) => {
					const got = ms.map((m) => parseEvent(m.data)).filter((e): e is Event => e !== null);
					for (const e of got) if (!cursor || Number(e.id) > Number(cursor)) cursor = String(e.id);
					setItems((have) => mergeEvents(have, got));
					got.forEach((e) => heard.current(e));
				},
			});
		};
		get<List<Event>>(`${path}?limit=${EVENTS_KEPT}`, first.signal).then(
			(l) => begin(l.items),
			() => begin([]), // the stream says in words what is wrong
		);
		return () => {
			gone = true;
			first.abort();
			stop?.();
		};
	}, [path]);
	return { items, ...state };
}

const BAD = /(oom|crashloop|unhealthy|failed|exited)$/;
const GOOD = /(succeeded|live)$/;

export function EventList(p: { events: Events; withApp: boolean; title?: string }): JSX.Element {
	const { items, state, why } = p.events;
	return (
		<Card title={p.title ?? 'Events'} tools={<StreamDot state={state} why={why} />}>
			{items.length === 0 && (
				<p class="quiet">{state === 'refused' ? visible(why, 300) : 'Nothing has happened yet.'}</p>
			)}
			<ol class="events" tabIndex={0} aria-label="Newest events first">
				{items.slice(0, EVENTS_SHOWN).map((e) => (
					<li key={e.id} class={BAD.test(e.kind) ? 'event-bad' : GOOD.test(e.kind) ? 'event-good' : ''}>
						<div class="event-line">
							{p.withApp && e.app && (
								<Link href={appHref(e.app)} class="event-app">
									<Foreign text={e.app} max={60} />
								</Link>
							)}
							<span class="event-kind">{visible(e.kind, 40)}</span>
							<Ago time={e.time} />
						</div>
						<Foreign text={e.text} class="event-text" />
					</li>
				))}
			</ol>
		</Card>
	);
}

const LINES_KEPT = 5000; // lines held for the filter
const LINES_SHOWN = 1000; // lines in the page: more would make scrolling heavy
const FIRST_LINES = 200;

function lineNode(l: LogLine): HTMLElement {
	const row = document.createElement('div');
	row.className = 'log-line';
	const time = document.createElement('span');
	time.className = 'log-time';
	time.textContent = l.time ? clock(l.time) : '';
	if (l.time) time.title = l.time;
	const source = document.createElement('span');
	source.className = 'log-source';
	source.textContent = visible(l.source, 64);
	const text = document.createElement('bdi');
	text.className = 'log-text';
	text.textContent = visible(l.text);
	row.append(time, source, text);
	return row;
}

/** The live log of an app. Lines go to the page by hand, in one go per frame: an app may print thousands a second. */
export function LogTail(p: { path: string }): JSX.Element {
	const box = useRef<HTMLDivElement>(null);
	const lines = useRef<LogLine[]>([]);
	const waiting = useRef<LogLine[]>([]); // not yet in the page
	const frame = useRef(0);
	const filter = useRef('');
	const paused = useRef(false);
	const [text, setText] = useState('');
	const [pause, setPause] = useState(false);
	const [held, setHeld] = useState(0);
	const [state, setState] = useState<{ state: StreamState; why: string }>({ state: 'connecting', why: '' });

	const matches = (l: LogLine): boolean =>
		!filter.current || `${l.source} ${l.text}`.toLowerCase().includes(filter.current);

	function atEnd(el: HTMLElement): boolean {
		return el.scrollHeight - el.scrollTop - el.clientHeight < 24;
	}

	function flush(): void {
		frame.current = 0;
		const el = box.current;
		if (!el) return;
		if (paused.current) {
			if (waiting.current.length > LINES_KEPT) waiting.current.splice(0, waiting.current.length - LINES_KEPT);
			setHeld(waiting.current.length);
			return;
		}
		const stick = atEnd(el);
		const add = waiting.current.splice(0).filter(matches).slice(-LINES_SHOWN);
		const part = document.createDocumentFragment();
		add.forEach((l) => part.append(lineNode(l)));
		el.append(part);
		while (el.childElementCount > LINES_SHOWN) el.firstElementChild!.remove();
		if (stick) el.scrollTop = el.scrollHeight;
	}

	function schedule(): void {
		if (!frame.current) frame.current = requestAnimationFrame(flush);
	}

	/** Everything held goes through the filter anew. */
	function redraw(): void {
		box.current?.replaceChildren();
		waiting.current = lines.current.slice();
		const was = paused.current;
		paused.current = false;
		flush();
		if (box.current) box.current.scrollTop = box.current.scrollHeight;
		paused.current = was;
		setHeld(0);
	}

	useEffect(() => {
		const stop = follow({
			url: () => `${p.path}?follow=1&lines=${FIRST_LINES}`,
			// A new connection sends the last lines again.
			open: () => {
				lines.current = [];
				waiting.current = [];
				if (!paused.current) box.current?.replaceChildren();
			},
			state: (s, why) => setState({ state: s, why }),
			messages: (ms) => {
				const got = ms.map((m) => logLine(m.data));
				lines.current.push(...got);
				if (lines.current.length > LINES_KEPT) lines.current.splice(0, lines.current.length - LINES_KEPT);
				waiting.current.push(...got);
				schedule();
			},
		});
		return () => {
			stop();
			cancelAnimationFrame(frame.current);
			frame.current = 0;
		};
	}, [p.path]);

	useLayoutEffect(() => {
		filter.current = text.trim().toLowerCase();
		redraw();
	}, [text]);

	function toggle(): void {
		paused.current = !pause;
		setPause(!pause);
		if (pause) redraw();
	}

	return (
		<Card
			title="Log"
			class="log-card"
			tools={
				<>
					<StreamDot state={state.state} why={state.why} />
					<input
						type="search"
						placeholder="Filter"
						aria-label="Filter the log"
						value={text}
						onInput={(e) => setText(e.currentTarget.value)}
					/>
					<button aria-pressed={pause} onClick={toggle}>
						{pause ? (held ? `Resume (${held} new)` : 'Resume') : 'Pause'}
					</button>
				</>
			}
		>
			<div class="log" ref={box} role="log" aria-live="off" aria-label="Newest lines last" tabIndex={0} />
			{state.why && <p class="quiet">{visible(state.why, 300)}</p>}
		</Card>
	);
}
