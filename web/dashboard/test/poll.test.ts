import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Poller } from '../src/poll';

describe('polling', () => {
	let hidden = false;
	let changed: () => void = () => undefined;
	const gate = {
		hidden: () => hidden,
		listen: (fn: () => void) => {
			changed = fn;
			return () => (changed = () => undefined);
		},
	};
	const none = () => undefined;
	beforeEach(() => {
		vi.useFakeTimers();
		hidden = false;
	});
	afterEach(() => vi.useRealTimers());

	it('asks at once and then at its pace', async () => {
		const f = vi.fn(async () => 1);
		const p = new Poller(f, 3000, none, none, gate);
		expect(f).toHaveBeenCalledTimes(1);
		await vi.advanceTimersByTimeAsync(9100);
		expect(f).toHaveBeenCalledTimes(4);
		p.stop();
		await vi.advanceTimersByTimeAsync(60000);
		expect(f).toHaveBeenCalledTimes(4);
	});

	it('is silent while the page is hidden, and asks when it is seen again', async () => {
		const f = vi.fn(async () => 1);
		const p = new Poller(f, 3000, none, none, gate);
		await vi.advanceTimersByTimeAsync(1);
		hidden = true;
		changed();
		await vi.advanceTimersByTimeAsync(600000);
		expect(f).toHaveBeenCalledTimes(1);
		hidden = false;
		changed();
		expect(f).toHaveBeenCalledTimes(2);
		p.stop();
	});

	it('never has two calls under way, and rests nine times as long as a slow one took', async () => {
		let under = 0;
		let most = 0;
		const f = vi.fn(async () => {
			most = Math.max(most, ++under);
			await new Promise((r) => setTimeout(r, 5000));
			under--;
		});
		const p = new Poller(f, 1000, none, none, gate);
		p.refresh();
		p.refresh();
		await vi.advanceTimersByTimeAsync(10100); // the refresh follows at once, as one
		expect(f).toHaveBeenCalledTimes(2);
		await vi.advanceTimersByTimeAsync(44000);
		expect(f).toHaveBeenCalledTimes(2);
		await vi.advanceTimersByTimeAsync(1500);
		expect(f).toHaveBeenCalledTimes(3);
		expect(most).toBe(1);
		p.stop();
	});

	it('slows down while the node refuses', async () => {
		const errors = vi.fn();
		const f = vi.fn(async () => {
			throw new Error('no');
		});
		const p = new Poller(f, 3000, none, errors, gate);
		await vi.advanceTimersByTimeAsync(60000);
		expect(f.mock.calls.length).toBeLessThan(7);
		expect(errors).toHaveBeenCalledTimes(f.mock.calls.length);
		p.stop();
	});
});
