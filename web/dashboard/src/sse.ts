// Server-sent events over fetch. EventSource would hide the node's refusals (it shows no status and no body) and wants
// every kind of event named beforehand.
import { ApiError, request } from './api';

export interface SseMessage {
	id: string;
	event: string;
	data: string;
}

const LINE_MAX = 256 * 1024; // a log line is at most 16 KiB, an event less

/** WHATWG HTML, 9.2.6: lines end in LF, CR or CRLF; a blank line ends a message; ":" begins a comment. */
export class SseParser {
	private buf = '';
	private lastCr = false;
	private data: string[] = [];
	private event = '';
	private id = '';

	push(chunk: string): SseMessage[] {
		const out: SseMessage[] = [];
		if (this.lastCr && chunk.startsWith('\n')) chunk = chunk.slice(1);
		if (chunk) this.lastCr = chunk.endsWith('\r');
		this.buf += chunk;
		const lines = this.buf.split(/\r\n|\r|\n/);
		this.buf = lines.pop() ?? '';
		if (this.buf.length > LINE_MAX) throw new Error('A line of the stream is too long.');
		for (const line of lines) {
			if (line === '') {
				if (this.data.length) out.push({ id: this.id, event: this.event || 'message', data: this.data.join('\n') });
				this.data = [];
				this.event = '';
				continue;
			}
			const colon = line.indexOf(':');
			if (colon === 0) continue;
			const field = colon < 0 ? line : line.slice(0, colon);
			let value = colon < 0 ? '' : line.slice(colon + 1);
			if (value.startsWith(' ')) value = value.slice(1);
			if (field === 'data') this.data.push(value);
			else if (field === 'event') this.event = value;
			else if (field === 'id' && !value.includes('\0')) this.id = value;
		}
		return out;
	}
}

export type StreamState = 'connecting' | 'live' | 'waiting' | 'refused';

export interface StreamHandlers {
	/** The address to ask for now: a follower of events puts its cursor in. */
	url: () => string;
	/** A connection stands; what it sends begins anew. */
	open?: () => void;
	messages: (m: SseMessage[]) => void;
	state: (s: StreamState, why: string) => void;
}

const RETRY_MS = 1000;
const RETRY_MAX_MS = 30_000;

/** Follows a stream until the returned function is called. While the page is hidden it is let go: a browser keeps only
 *  six connections to one host, and ten forgotten tabs must not use up the node's followers. */
export function follow(h: StreamHandlers): () => void {
	let stopped = false;
	let abort: AbortController | null = null;
	let timer: ReturnType<typeof setTimeout> | undefined;
	let failures = 0;

	async function run(): Promise<void> {
		const mine = new AbortController();
		abort = mine;
		h.state('connecting', '');
		let why = '';
		try {
			const r = await request(h.url(), {
				headers: { Accept: 'text/event-stream' },
				cache: 'no-store',
				signal: mine.signal,
			});
			if (!r.body) throw new Error('The browser cannot stream.');
			h.open?.();
			h.state('live', '');
			const parser = new SseParser();
			const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
			for (;;) {
				const { done, value } = await reader.read();
				if (done) break;
				failures = 0;
				const got = parser.push(value);
				if (got.length) h.messages(got);
			}
		} catch (e) {
			if (mine.signal.aborted) return;
			why = e instanceof Error ? e.message : String(e);
			if (e instanceof ApiError && [401, 403, 404].includes(e.status)) {
				abort = null;
				h.state('refused', why);
				return;
			}
		}
		mine.abort(); // ends the body when it was the parser that gave up
		abort = null;
		if (stopped) return;
		failures++;
		h.state('waiting', why);
		timer = setTimeout(() => void run(), Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** Math.min(failures, 6)));
	}

	function onVisibility(): void {
		clearTimeout(timer);
		if (document.hidden) {
			abort?.abort();
			abort = null;
			h.state('waiting', '');
		} else if (!abort) {
			void run();
		}
	}

	document.addEventListener('visibilitychange', onVisibility);
	if (!document.hidden) void run();
	return () => {
		stopped = true;
		clearTimeout(timer);
		abort?.abort();
		document.removeEventListener('visibilitychange', onVisibility);
	};
}
