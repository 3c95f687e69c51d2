import { describe, expect, it } from 'vitest';
import { problemWords } from '../src/api';
import { SseParser } from '../src/sse';

const all = (s: string, step: number) => {
	const p = new SseParser();
	const out = [];
	for (let i = 0; i < s.length; i += step) out.push(...p.push(s.slice(i, i + step)));
	return out;
};

describe('server-sent events', () => {
	const text =
		': hello\r\n\r\nid: 7\nevent: deploy.succeeded\ndata: {"a":1}\n\ndata:one\r\ndata: two\r\n\r\n\rdata: three\r\r';
	it.each([1, 2, 3, 7, 1000])('are the same in pieces of %i', (step) => {
		expect(all(text, step)).toEqual([
			{ id: '7', event: 'deploy.succeeded', data: '{"a":1}' },
			{ id: '7', event: 'message', data: 'one\ntwo' },
			{ id: '7', event: 'message', data: 'three' },
		]);
	});

	it('keep an empty line of a log', () => {
		expect(all('data:\n\n', 3)).toEqual([{ id: '', event: 'message', data: '' }]);
	});

	it('give up on a line without end', () => {
		const p = new SseParser();
		expect(() => {
			for (let i = 0; i < 100; i++) p.push('x'.repeat(8192));
		}).toThrow(/too long/);
	});
});

describe('a refusal in words', () => {
	it('is the API’s own sentence', () => {
		expect(
			problemWords(
				400,
				'application/problem+json',
				'{"title":"Bad Request","detail":"formation.web: 101 is outside 0..100","field":"web"}',
			),
		).toEqual({
			text: 'formation.web: 101 is outside 0..100',
			field: 'web',
		});
	});
	it('is ours where there is none', () => {
		expect(problemWords(502, 'text/html', '<h1>x</h1>').text).toMatch(/control plane/);
		expect(problemWords(418, 'application/json', '{broken').text).toBe('The node answered 418.');
	});
});
