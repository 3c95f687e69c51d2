// Plots over time. uPlot draws; this file gives it our colours, sizes and figures.
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { get } from './api';
import { bytes, cores, rate } from './format';
import { usePoll } from './poll';
import type { History } from './types';
import { Problem } from './ui';

export type Series = 'cpu_cores' | 'memory_bytes' | 'requests_per_second';

const SHOW: Record<
	Series,
	{ title: string; color: string; format: (n: number | null | undefined) => string; floor: number }
> = {
	cpu_cores: { title: 'CPU, cores', color: '--plot-cpu', format: cores, floor: 0.1 },
	memory_bytes: { title: 'Memory', color: '--plot-memory', format: bytes, floor: 16 << 20 },
	requests_per_second: { title: 'Requests per second', color: '--plot-requests', format: rate, floor: 1 },
};

const HEIGHT = 150;
const SYNC = uPlot.sync('time');

/** Seconds since 1970, whether the node sends numbers or RFC 3339. */
export function seconds(t: number | string): number {
	return typeof t === 'number' ? (t > 1e11 ? t / 1000 : t) : Date.parse(t) / 1000;
}

/** A round top for the axis: 1, 2, 2.5 or 5 times a power of ten (of two, for bytes). */
export function niceTop(max: number, binary: boolean): number {
	if (!(max > 0)) return 1;
	const base = binary ? 1024 ** Math.floor(Math.log(max) / Math.log(1024)) : 1;
	const m = max / base;
	const p = 10 ** Math.floor(Math.log10(m));
	for (const k of [1, 2, 2.5, 5, 10]) if (k * p >= m - 1e-9) return k * p * base;
	return max;
}

function hourMinute(t: number): string {
	return new Date(t * 1000).toTimeString().slice(0, 5);
}

function css(name: string): string {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function options(series: Series, width: number, limit: number | undefined): uPlot.Options {
	const s = SHOW[series];
	const ink = css('--muted');
	const grid = { stroke: css('--line'), width: 1 };
	const font = '11px system-ui, sans-serif';
	const binary = series === 'memory_bytes';
	return {
		width,
		height: HEIGHT,
		padding: [8, 16, 0, 0],
		legend: { show: false },
		cursor: { y: false, drag: { x: false, y: false, setScale: false }, sync: { key: SYNC.key }, points: { size: 7 } },
		scales: {
			x: { time: true },
			y: { range: (_u, _min, max) => [0, niceTop(Math.max(max ?? 0, s.floor, limit ?? 0), binary)] },
		},
		axes: [
			{
				stroke: ink,
				font,
				grid: { show: false },
				ticks: { show: false },
				space: 60,
				size: 24,
				values: (_u, v) => v.map(hourMinute),
			},
			{
				stroke: ink,
				font,
				grid,
				ticks: { show: false },
				size: 58,
				splits: (_u, _i, min, max) => [min, max / 2, max],
				values: (_u, v) => v.map((n) => s.format(n)),
			},
		],
		series: [
			{},
			{ stroke: css(s.color), width: 1.6, fill: `${css(s.color)}22`, points: { show: false }, spanGaps: false },
		],
		hooks: limit
			? {
					draw: [
						(u) => {
							const y = Math.round(u.valToPos(limit, 'y', true));
							u.ctx.save();
							u.ctx.strokeStyle = css('--bad');
							u.ctx.setLineDash([4, 4]);
							u.ctx.beginPath();
							u.ctx.moveTo(u.bbox.left, y);
							u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
							u.ctx.stroke();
							u.ctx.restore();
						},
					],
				}
			: {},
	};
}

function Plot(p: { series: Series; history: History; limit?: number | undefined }): JSX.Element {
	const box = useRef<HTMLDivElement>(null);
	const plot = useRef<uPlot | null>(null);
	const [at, setAt] = useState<number | null>(null);
	const [theme, setTheme] = useState(0);
	const s = SHOW[p.series];
	const values = p.history[p.series] ?? [];

	useEffect(() => {
		const m = matchMedia('(prefers-color-scheme: dark)');
		const on = (): void => setTheme((n) => n + 1);
		m.addEventListener('change', on);
		return () => m.removeEventListener('change', on);
	}, []);

	useEffect(() => {
		const el = box.current!;
		const o = options(p.series, Math.max(120, el.clientWidth), p.limit);
		o.hooks = { ...o.hooks, setCursor: [(u) => setAt(u.cursor.idx ?? null)] };
		const u = new uPlot(o, [[], []], el);
		plot.current = u;
		const r = new ResizeObserver(() => u.setSize({ width: Math.max(120, el.clientWidth), height: HEIGHT }));
		r.observe(el);
		return () => {
			r.disconnect();
			u.destroy();
			plot.current = null;
		};
	}, [p.series, p.limit, theme]);

	useEffect(() => {
		plot.current?.setData([p.history.times.map(seconds), values]);
	}, [p.history, p.series, p.limit, theme]);

	const shown = at !== null ? values[at] : values[values.length - 1];
	return (
		<figure class="plot">
			<figcaption>
				<span>{s.title}</span>
				<output class="plot-value">{s.format(shown)}</output>
			</figcaption>
			<div ref={box} class="plot-box" aria-hidden="true" />
		</figure>
	);
}

const RANGES = [15, 60] as const; // minutes; a node keeps one hour
const HISTORY_MS = 10_000; // a node takes one sample in ten seconds

/** Three plots of `path` + "/metrics". `onNewest` hears the newest CPU figure. */
export function Plots(p: {
	path: string;
	memoryLimit?: number | undefined;
	onNewest?: (cpu: number | undefined) => void;
}): JSX.Element {
	const [minutes, setMinutes] = useState<number>(60);
	const url = `${p.path}/metrics?minutes=${minutes}`;
	const { data, error, refresh } = usePoll(url, (signal) => get<History>(url, signal), HISTORY_MS);
	useEffect(() => p.onNewest?.(data?.cpu_cores[data.cpu_cores.length - 1] ?? undefined), [data]);
	return (
		<section class="card" aria-label="Over time">
			<header class="card-head">
				<h2>Over time</h2>
				<div class="segments" role="group" aria-label="Span of the plots">
					{RANGES.map((m) => (
						<button key={m} aria-pressed={m === minutes} onClick={() => setMinutes(m)}>
							{m === 60 ? '1 h' : `${m} min`}
						</button>
					))}
				</div>
			</header>
			{error ? <Problem error={error} retry={refresh} /> : null}
			<div class="plots">
				{data ? (
					<>
						<Plot series="cpu_cores" history={data} />
						<Plot series="memory_bytes" history={data} limit={p.memoryLimit} />
						<Plot series="requests_per_second" history={data} />
					</>
				) : (
					!error && <p class="quiet">Loading…</p>
				)}
			</div>
			{data && data.times.length < 2 && (
				<p class="quiet">Nothing measured yet: the first figures come within a minute.</p>
			)}
		</section>
	);
}
