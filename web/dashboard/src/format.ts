// Figures and foreign text made fit to read. Pure.

const DASH = '–';

export function bytes(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let u = 0;
	let v = Math.abs(n);
	while (v >= 1024 && u < units.length - 1) {
		v /= 1024;
		u++;
	}
	if (u > 0 && v >= 1023.5 && u < units.length - 1) {
		v /= 1024;
		u++;
	}
	const s = u === 0 || v >= 99.95 ? Math.round(v).toString() : v.toFixed(1).replace(/\.0$/, '');
	return `${n < 0 ? '-' : ''}${s} ${units[u]}`;
}

/** CPU in cores: two digits below one core, one above. */
export function cores(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
	if (n === 0) return '0';
	if (n < 0.005) return '<0.01';
	return n < 0.995 ? n.toFixed(2) : n < 99.95 ? n.toFixed(1).replace(/\.0$/, '') : Math.round(n).toString();
}

export function count(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
	return Math.round(n)
		.toString()
		.replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** A count in few characters, for narrow columns: "9,999", "164k", "4.2M". */
export function short(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n) || n < 9999.5) return count(n);
	const k = n < 999_500;
	const v = n / (k ? 1e3 : 1e6);
	return `${v < 99.95 ? v.toFixed(1).replace(/\.0$/, '') : count(v)}${k ? 'k' : 'M'}`;
}

export function rate(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
	if (n === 0) return '0';
	if (n < 0.05) return '<0.1';
	return n < 9.95 ? n.toFixed(1) : count(n);
}

export function millis(n: number | null | undefined): string {
	if (n === null || n === undefined || !Number.isFinite(n)) return DASH;
	if (n < 9.95) return `${n.toFixed(1)} ms`;
	return n < 999.5 ? `${Math.round(n)} ms` : `${(n / 1000).toFixed(n < 9950 ? 1 : 0)} s`;
}

export function percent(part: number | undefined, whole: number | undefined): number {
	if (!part || !whole || whole <= 0) return 0;
	return Math.max(0, Math.min(100, (part / whole) * 100));
}

/** A share of 1 as per cent; never "100 %" or "0 %" when it is only nearly so. */
export function fraction(f: number): string {
	if (!Number.isFinite(f)) return DASH;
	const p = f * 100;
	if (p === 0 || p === 100) return `${p} %`;
	if (p > 99.99) return '>99.99 %';
	if (p < 0.01) return '<0.01 %';
	return `${p > 99 || p < 1 ? p.toFixed(2) : p.toFixed(1)} %`;
}

/** "3 d 4 h", "12 min", "8 s". */
export function span(seconds: number): string {
	if (!Number.isFinite(seconds)) return DASH;
	const s = Math.max(0, Math.floor(seconds));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min`;
	if (s < 86400) {
		const m = Math.floor((s % 3600) / 60);
		return `${Math.floor(s / 3600)} h${m ? ` ${m} min` : ''}`;
	}
	const h = Math.floor((s % 86400) / 3600);
	const d = Math.floor(s / 86400);
	return d < 14 && h ? `${d} d ${h} h` : `${d} d`;
}

export function ago(iso: string | null | undefined, now: number): string {
	const t = iso ? Date.parse(iso) : NaN;
	if (Number.isNaN(t)) return DASH;
	const s = (now - t) / 1000;
	return s < 5 ? 'just now' : `${span(s)} ago`;
}

export function clock(iso: string): string {
	const t = new Date(iso);
	return Number.isNaN(t.getTime()) ? '' : t.toTimeString().slice(0, 8);
}

/** CPU seconds used in all. */
export function cpuTime(s: number | undefined): string {
	if (s === undefined || !Number.isFinite(s)) return DASH;
	return s < 10 ? `${s.toFixed(1)} s` : span(s);
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

// eslint-disable-next-line no-control-regex
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g;
// Controls, and the format characters that reorder or hide text (bidi marks, embeddings, isolates, zero width, tags).
const HIDDEN =
	/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;

/** Text that came from a tenant: colour codes dropped, characters that could make it read as something else written
 *  out. It still goes to the page as a text node only. */
export function visible(s: string, max = 16384): string {
	const cut = s.length > max ? `${s.slice(0, max)}…` : s;
	return cut
		.replace(ANSI, '')
		.replace(HIDDEN, (c) => `⟨${c.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}⟩`);
}

/** An address that may become a link: http and https only, so that no javascript: address is ever clicked. */
export function safeUrl(s: string | undefined): string | undefined {
	if (!s) return undefined;
	try {
		const u = new URL(s);
		return u.protocol === 'http:' || u.protocol === 'https:' ? u.href : undefined;
	} catch {
		return undefined;
	}
}

export interface LogLine {
	time: string;
	source: string;
	text: string;
}

/** One line of an app's log: "RFC3339 source text". A line of another shape is all text. */
export function logLine(s: string): LogLine {
	const m = /^(\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)) (\S{1,64}) ?(.*)$/s.exec(s);
	return m ? { time: m[1]!, source: m[2]!, text: m[3]! } : { time: '', source: '', text: s };
}

/** How long until then: "in 12 d", "over since 3 h"; and how near that is to a certificate's end. */
export function until(iso: string | null | undefined, now: number): { text: string; tone: 'ok' | 'warn' | 'bad' } {
	const t = iso ? Date.parse(iso) : NaN;
	if (Number.isNaN(t)) return { text: DASH, tone: 'ok' };
	const s = (t - now) / 1000;
	if (s <= 0) return { text: `over since ${span(-s)}`, tone: 'bad' };
	return { text: `in ${span(s)}`, tone: s < 3 * 86400 ? 'bad' : s < 21 * 86400 ? 'warn' : 'ok' };
}
