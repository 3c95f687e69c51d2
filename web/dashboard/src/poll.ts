// Asking again and again, politely: never two at once, never while the page is hidden, never more than a tenth of the
// time, and slower while the node refuses.
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Gate {
	hidden: () => boolean;
	listen: (fn: () => void) => () => void;
}

const documentGate: Gate = {
	hidden: () => document.hidden,
	listen: (fn) => {
		document.addEventListener('visibilitychange', fn);
		return () => document.removeEventListener('visibilitychange', fn);
	},
};

const BACKOFF_MAX_MS = 30_000;
const REST = 9; // a call that took t is followed by 9 t of rest: a list of 5,000 apps costs the node real work

export class Poller<T> {
	private timer: ReturnType<typeof setTimeout> | undefined;
	private abort: AbortController | null = null;
	private again = false;
	private failures = 0;
	private stopListening: () => void;
	private stopped = false;

	constructor(
		private readonly fetcher: (signal: AbortSignal) => Promise<T>,
		private readonly intervalMs: number,
		private readonly onData: (data: T) => void,
		private readonly onError: (e: unknown) => void,
		private readonly gate: Gate = documentGate,
	) {
		this.stopListening = gate.listen(() => this.onVisibility());
		if (!gate.hidden()) void this.run();
	}

	stop(): void {
		this.stopped = true;
		clearTimeout(this.timer);
		this.abort?.abort();
		this.stopListening();
	}

	/** Asks at once, or right after the call that is under way (whose answer may be older than what was just changed). */
	refresh(): void {
		if (this.stopped || this.gate.hidden()) return;
		if (this.abort) {
			this.again = true;
			return;
		}
		clearTimeout(this.timer);
		void this.run();
	}

	private onVisibility(): void {
		if (this.stopped) return;
		if (this.gate.hidden()) clearTimeout(this.timer);
		else if (!this.abort) this.refresh();
	}

	private async run(): Promise<void> {
		const mine = new AbortController();
		this.abort = mine;
		this.again = false;
		const began = Date.now();
		try {
			const data = await this.fetcher(mine.signal);
			if (this.stopped) return;
			this.failures = 0;
			this.onData(data);
		} catch (e) {
			if (this.stopped) return;
			this.failures++;
			this.onError(e);
		}
		this.abort = null;
		if (this.stopped || this.gate.hidden()) return;
		if (this.again) {
			void this.run();
			return;
		}
		const rest = Math.max(this.intervalMs, (Date.now() - began) * REST);
		const wait = this.failures ? Math.min(BACKOFF_MAX_MS, rest * 2 ** Math.min(this.failures - 1, 4)) : rest;
		this.timer = setTimeout(() => void this.run(), wait);
	}
}

export interface Polled<T> {
	data: T | undefined;
	error: unknown; // of the newest call; the data of the last good one stays
	refresh: () => void;
}

/** `key` names what is polled: when it changes, the old data goes. `null` polls nothing. */
export function usePoll<T>(
	key: string | null,
	fetcher: (signal: AbortSignal) => Promise<T>,
	intervalMs: number,
): Polled<T> {
	const [state, set] = useState<{ key: string | null; data: T | undefined; error: unknown }>({
		key,
		data: undefined,
		error: null,
	});
	const poller = useRef<Poller<T> | null>(null);
	useEffect(() => {
		set((s) => (s.key === key ? s : { key, data: undefined, error: null }));
		if (key === null) return;
		const p = new Poller<T>(
			fetcher,
			intervalMs,
			(data) => set({ key, data, error: null }),
			(error) => set((s) => ({ key, data: s.key === key ? s.data : undefined, error })),
		);
		poller.current = p;
		return () => {
			p.stop();
			poller.current = null;
		};
	}, [key, intervalMs]);
	const fresh = state.key === key;
	return {
		data: fresh ? state.data : undefined,
		error: fresh ? state.error : null,
		refresh: () => poller.current?.refresh(),
	};
}
