import { describe, expect, it } from 'vitest';
import {
	ago,
	bytes,
	cores,
	cpuTime,
	fraction,
	logLine,
	millis,
	percent,
	rate,
	safeUrl,
	span,
	visible,
} from '../src/format';

describe('figures', () => {
	it.each([
		[0, '0 B'],
		[1023, '1023 B'],
		[1024, '1 KiB'],
		[1536, '1.5 KiB'],
		[256 * 2 ** 20, '256 MiB'],
		[2 ** 30 - 1, '1 GiB'],
		[2 ** 42, '4 TiB'],
		[undefined, '–'],
		[NaN, '–'],
	])('bytes(%s) is %s', (n, s) => expect(bytes(n)).toBe(s));

	it('keeps small figures apart from none', () => {
		expect(cores(0)).toBe('0');
		expect(cores(0.001)).toBe('<0.01');
		expect(cores(0.5)).toBe('0.50');
		expect(cores(1)).toBe('1');
		expect(cores(12.34)).toBe('12.3');
		expect(rate(0.01)).toBe('<0.1');
		expect(rate(1234.6)).toBe('1,235');
		expect(fraction(0)).toBe('0 %');
		expect(fraction(0.999999)).toBe('>99.99 %');
		expect(fraction(0.0003)).toBe('0.03 %');
		expect(fraction(0 / 0)).toBe('–');
	});

	it('spans of time', () => {
		expect(span(-3)).toBe('0 s');
		expect(span(59.9)).toBe('59 s');
		expect(span(3660)).toBe('1 h 1 min');
		expect(span(86400 * 3 + 3600 * 4)).toBe('3 d 4 h');
		expect(ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:00:03Z'))).toBe('just now');
		expect(ago('nonsense', 0)).toBe('–');
		expect(millis(1234)).toBe('1.2 s');
		expect(cpuTime(1.25)).toBe('1.3 s');
	});

	it('percent never leaves its bar', () => {
		expect(percent(5, 0)).toBe(0);
		expect(percent(30, 10)).toBe(100);
		expect(percent(undefined, 10)).toBe(0);
	});
});

describe('foreign text', () => {
	it('drops colour codes and writes out what reorders or hides', () => {
		expect(visible('\u001b[1;31mred\u001b[0m')).toBe('red');
		expect(visible('\u001b]0;title\u0007x')).toBe('x');
		expect(visible('a\u202Eb')).toBe('a⟨202E⟩b');
		expect(visible('a\u0000b\rc')).toBe('a⟨0000⟩b⟨000D⟩c');
		expect(visible('tab\tline\n')).toBe('tab\tline\n');
		expect(visible('土楼 é 👩‍👩‍👧')).toBe('土楼 é 👩‍👩‍👧');
		expect(visible('x'.repeat(50), 10)).toBe('xxxxxxxxxx…');
	});

	it('takes no long time over a long line of escapes', () => {
		const t = Date.now();
		visible('\u001b['.repeat(8000) + '\u001b]'.repeat(8000), 1e6);
		expect(Date.now() - t).toBeLessThan(500);
	});

	it('links to web addresses only', () => {
		expect(safeUrl('http://shop.localhost:8080')).toBe('http://shop.localhost:8080/');
		expect(safeUrl('javascript:alert(1)')).toBeUndefined();
		expect(safeUrl('data:text/html,x')).toBeUndefined();
		expect(safeUrl('shop.example.com')).toBeUndefined();
		expect(safeUrl(undefined)).toBeUndefined();
	});

	it('splits a log line, and leaves a strange one whole', () => {
		expect(logLine('2026-11-24T00:00:01.250Z web.3 GET / 200')).toEqual({
			time: '2026-11-24T00:00:01.250Z',
			source: 'web.3',
			text: 'GET / 200',
		});
		expect(logLine('2026-11-24T00:00:01Z web.3')).toEqual({ time: '2026-11-24T00:00:01Z', source: 'web.3', text: '' });
		expect(logLine('no time here')).toEqual({ time: '', source: '', text: 'no time here' });
	});
});
