// The state of an app in words: what is, why, and what to do next. Pure.
import { plural, visible } from './format';
import type { App, Build, Event, Instance, Release } from './types';

export type Tone = 'ok' | 'busy' | 'bad' | 'idle';

export interface Words {
	tone: Tone;
	title: string;
	detail: string;
	next: string;
}

export const STATE_TONE: Record<string, Tone> = {
	running: 'ok',
	degraded: 'bad',
	starting: 'busy',
	deploying: 'busy',
	crashed: 'bad',
	stopped: 'idle',
	paused: 'idle',
	empty: 'idle',
	// of instances, releases and builds
	draining: 'busy',
	stopping: 'busy',
	exited: 'idle',
	unhealthy: 'bad',
	pending: 'busy',
	live: 'ok',
	failed: 'bad',
	retired: 'idle',
	succeeded: 'ok',
	// of the throttle
	slowed: 'busy',
	boosted: 'ok',
	// of canaries and certificates
	waiting: 'idle',
	serving: 'ok',
	promoting: 'busy',
	certificate: 'ok',
	'no certificate': 'idle',
	unsupported: 'idle',
};

/** A crash loop is tried again so often: PLAN_LOOP_MS of scheduler/plan.h, which a test compares. */
export const LOOP_MINUTES = 5;

export interface Facts {
	app: App;
	instances?: readonly Instance[];
	releases?: readonly Release[];
	builds?: readonly Build[];
	events?: readonly Event[]; // newest first
}

const TROUBLE = ['instance.crashloop', 'instance.oom', 'instance.exited', 'instance.unhealthy', 'deploy.failed'];

const sentence = (s: string): string => {
	const t = visible(s.trim(), 600);
	return t && !/[.!?…]$/.test(t) ? `${t}.` : t;
};

/** Why an app is down: an instance's own reason, else the newest event that tells of trouble. */
export function whyDown(f: Facts): string {
	const own = [...(f.instances ?? [])].reverse().find((i) => i.reason)?.reason;
	return sentence(own ?? f.events?.find((e) => TROUBLE.includes(e.kind))?.text ?? '');
}

/** The newest earlier release that once was live: what "roll back" goes to. */
export function rollbackTarget(app: App, releases: readonly Release[] | undefined): Release | undefined {
	const live = app.release?.version ?? 0;
	return [...(releases ?? [])]
		.sort((a, b) => b.version - a.version)
		.find((r) => r.version < live && r.state === 'retired');
}

function crashed(f: Facts): Words {
	const why = whyDown(f);
	const back = rollbackTarget(f.app, f.releases);
	const oom = /memory/i.test(why);
	const steps = [
		oom
			? 'Let it use less memory, or raise the app’s memory limit.'
			: 'The log below shows its last words. Fix the cause and push again.',
		back ? `Or roll back to v${back.version}, which ran before.` : '',
	];
	return {
		tone: 'bad',
		title: `${f.app.release ? `v${f.app.release.version}` : 'The app'} keeps crashing`,
		detail: `${why || 'Its instances end soon after they start.'} It is tried again every ${LOOP_MINUTES} minutes.`,
		next: steps.filter(Boolean).join(' '),
	};
}

export function appWords(f: Facts): Words {
	const { app } = f;
	const run = app.stats?.instances_running ?? 0;
	const want = app.stats?.instances_wanted ?? 0;
	const healthy = app.stats?.instances_healthy ?? run;
	const build = [...(f.builds ?? [])].sort((a, b) => Number(b.id) - Number(a.id))[0];
	if (app.serving?.hold && ['running', 'degraded', 'starting', 'crashed'].includes(app.state))
		return {
			tone: 'busy',
			title: 'Held',
			detail: `Its requests wait, up to 2 minutes each. ${run} of ${plural(want, 'instance')} ${run === 1 ? 'runs' : 'run'}, ${healthy} healthy.`,
			next: `Resume lets them in, as does: tulou apps resume ${app.name}`,
		};
	switch (app.state) {
		case 'running':
			return run < want
				? {
						tone: 'busy',
						title: 'Running in part',
						detail: `${run} of ${plural(want, 'instance')} answer; the others are on their way.`,
						next: '',
					}
				: { tone: 'ok', title: 'Running', detail: `${plural(run, 'instance')}, all healthy.`, next: '' };
		case 'degraded':
			return {
				tone: 'bad',
				title: 'Unhealthy',
				detail: `${healthy} of ${plural(want, 'instance')} healthy; ${
					run - healthy === 1 ? 'the checks of one' : `the checks of ${run - healthy}`
				} fail. ${app.stats?.waiting ? sentence(app.stats.waiting) : 'Others are started in their place.'}`,
				next: whyDown(f),
			};
		case 'starting':
			return {
				tone: 'busy',
				title: 'Starting',
				detail: `${run} of ${plural(want, 'instance')} answer so far.`,
				next: whyDown(f),
			};
		case 'deploying':
			return {
				tone: 'busy',
				title: app.candidate ? `Deploying v${app.candidate.version}` : 'Deploying',
				detail: app.release
					? `The new release is started and checked beside v${app.release.version}, which goes on serving until the new one answers.`
					: 'The first release is being started and checked.',
				next: '',
			};
		case 'crashed':
			return crashed(f);
		case 'stopped':
			return {
				tone: 'idle',
				title: 'Stopped',
				detail: 'Every process type is scaled to 0, so nothing runs.',
				next: 'Scale one up to start the app.',
			};
		case 'paused':
			return {
				tone: 'idle',
				title: 'Paused',
				detail: 'Nothing runs and its address answers 503. The formation is kept.',
				next: 'Resume starts it as it was.',
			};
		case 'empty':
			if (build?.state === 'running')
				return {
					tone: 'busy',
					title: 'Building the first release',
					detail: 'The build’s log is shown to whoever pushed.',
					next: '',
				};
			if (build?.state === 'failed')
				return {
					tone: 'bad',
					title: 'The first build failed',
					detail: sentence(build.error ?? ''),
					next: 'Its log is under Builds. Fix the cause and push again.',
				};
			if (app.empty === 'deploy failed')
				return {
					tone: 'bad',
					title: 'The first deploy failed',
					detail: sentence(
						f.events?.find((e) => e.kind === 'deploy.failed')?.text ?? 'Its instances did not become healthy.',
					),
					next: 'Fix the cause and push again.',
				};
			return {
				tone: 'idle',
				title: 'Waiting for the first push',
				detail: 'The app has an address, but nothing to run yet.',
				next: '',
			};
		default:
			return { tone: 'idle', title: 'State unknown', detail: 'The node has not measured this app yet.', next: '' };
	}
}

/** A deploy that went wrong while the app itself is well: said beside the state, not instead of it. */
export function deployTrouble(f: Facts): Words | null {
	if (!f.app.release || f.app.state === 'deploying') return null;
	const serving = f.app.state === 'running' || f.app.state === 'degraded' ? ` v${f.app.release.version} serves on.` : '';
	const builds = [...(f.builds ?? [])].sort((a, b) => Number(b.id) - Number(a.id));
	if (builds[0]?.state === 'failed') {
		return {
			tone: 'bad',
			title: 'The last build failed',
			detail: `${sentence(builds[0].error ?? '')}${serving}`,
			next: 'Its log is under Builds.',
		};
	}
	const newest = [...(f.releases ?? [])].sort((a, b) => b.version - a.version)[0];
	if (newest?.state === 'failed' && newest.version > f.app.release.version) {
		const why = f.events?.find((e) => e.kind === 'deploy.failed')?.text;
		return {
			tone: 'bad',
			title: `v${newest.version} was not taken live`,
			detail: `${sentence(why ?? 'Its instances did not become healthy.')}${serving}`,
			next: '',
		};
	}
	return null;
}
