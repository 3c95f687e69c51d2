// Calls of the node's API: same origin, the session cookie, errors as sentences.
import type { List } from './types';

export class ApiError extends Error {
	constructor(
		readonly status: number,
		message: string,
		readonly field?: string,
	) {
		super(message);
	}
}

const TIMEOUT_MS = 20_000;
const PAGE = 200; // the API's largest page
const PAGES_MAX = 100; // 20,000 apps are the node's own limit

let lost: () => void = () => undefined;
/** Called when the node no longer knows this session. */
export function onSessionLost(fn: () => void): void {
	lost = fn;
}

const WORDS: Record<number, string> = {
	0: 'The node does not answer. It may be restarting; this page keeps trying.',
	401: 'This session has ended. Log in again.',
	403: 'Your token’s role does not allow this.',
	404: 'There is no such thing here, or it is not yours to see.',
	409: 'Something else is in progress for this app. Try again when it is done.',
	413: 'That is larger than the node accepts.',
	422: 'The node refused this.',
	429: 'Too many requests. Wait a moment and try again.',
	500: 'The node failed to do this. Its log says why.',
	502: 'The front door cannot reach the control plane. It may be restarting.',
	503: 'The node is not ready. It may be starting or restarting.',
	504: 'The node took too long to answer.',
};

/** The sentence for a refused call, from its problem+json when it has one. */
export function problemWords(status: number, type: string, body: string): { text: string; field?: string } {
	if (type.includes('json')) {
		try {
			const p = JSON.parse(body) as { title?: unknown; detail?: unknown; field?: unknown };
			const text = typeof p.detail === 'string' && p.detail ? p.detail : typeof p.title === 'string' ? p.title : '';
			if (text) return { text, ...(typeof p.field === 'string' && p.field ? { field: p.field } : {}) };
		} catch {
			/* not what it says it is: the status speaks */
		}
	}
	return { text: WORDS[status] ?? `The node answered ${status}.` };
}

export function words(e: unknown): string {
	return e instanceof Error && e.message ? e.message : String(e);
}

function randomKey(): string {
	// crypto.randomUUID exists only on https and localhost; the control name may be plain http elsewhere.
	return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
}

/** A response with a good status, or an ApiError. The caller reads the body. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
	let r: Response;
	try {
		r = await fetch(path, { credentials: 'same-origin', redirect: 'error', ...init });
	} catch (e) {
		if (init.signal?.aborted && (init.signal.reason as Error | undefined)?.name !== 'TimeoutError') throw e;
		throw new ApiError(0, WORDS[0]!);
	}
	if (r.ok) return r;
	const p = problemWords(
		r.status,
		r.headers.get('Content-Type') ?? '',
		(await r.text().catch(() => '')).slice(0, 16384),
	);
	if (r.status === 401 && path !== '/v1/session') lost();
	throw new ApiError(r.status, p.text, p.field);
}

function withTimeout(signal?: AbortSignal): AbortSignal {
	const c = new AbortController();
	const t = setTimeout(() => c.abort(new DOMException('timeout', 'TimeoutError')), TIMEOUT_MS);
	const stop = (): void => {
		clearTimeout(t);
		c.abort(signal?.reason);
	};
	if (signal?.aborted) stop();
	else signal?.addEventListener('abort', stop, { once: true });
	return c.signal;
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
	const r = await request(path, { headers: { Accept: 'application/json' }, signal: withTimeout(signal) });
	return (await r.json()) as T;
}

export async function send<T = unknown>(
	method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
	path: string,
	body?: unknown,
): Promise<T | null> {
	const headers: Record<string, string> = { Accept: 'application/json' };
	if (body !== undefined) headers['Content-Type'] = 'application/json';
	if (method === 'POST' && path !== '/v1/session') headers['Idempotency-Key'] = randomKey();
	const r = await request(path, {
		method,
		headers,
		body: body === undefined ? null : JSON.stringify(body),
		signal: withTimeout(),
	});
	const text = await r.text();
	return text && (r.headers.get('Content-Type') ?? '').includes('json') ? (JSON.parse(text) as T) : null;
}

/** All pages of a list. Pages are asked for one after the other: a large node is not to be hit by 25 calls at once. */
export async function getAll<T>(path: string, signal?: AbortSignal): Promise<T[]> {
	const all: T[] = [];
	let after = '';
	for (let i = 0; i < PAGES_MAX; i++) {
		const sep = path.includes('?') ? '&' : '?';
		const page = await get<List<T>>(
			`${path}${sep}limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ''}`,
			signal,
		);
		all.push(...page.items);
		if (!page.next || page.next === after) break;
		after = page.next;
	}
	return all;
}

export const appPath = (name: string, rest = ''): string => `/v1/apps/${encodeURIComponent(name)}${rest}`;
