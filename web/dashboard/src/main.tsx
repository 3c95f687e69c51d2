// Who is logged in decides what there is to see.
import { render, type JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { ApiError, get, onSessionLost, send } from './api';
import { AppPage } from './app';
import { Home } from './home';
import { Login } from './login';
import { TenantPage } from './tenant';
import { go, Link, useRoute } from './router';
import './base.css';
import './pages.css';
import type { Whoami } from './types';
import { act, Logo, Problem, Voice } from './ui';

type Session = { who: Whoami } | 'unknown' | 'out' | 'ended' | { error: unknown };

function Shell(p: { who: Whoami; logout: () => void }): JSX.Element {
	const route = useRoute();
	const { who } = p;
	return (
		<>
			<a class="skip" href="#main">
				Skip to the content
			</a>
			<header class="top">
				<Link href="/" class="brand">
					<Logo />
					<span>Tulou</span>
				</Link>
				<nav aria-label="Pages">
					<Link href="/" class={route.page === 'home' ? 'here' : ''}>
						{who.tenant ? 'Your apps' : 'Host'}
					</Link>
				</nav>
				<span class="who">
					{who.tenant ? (
						<>
							<bdi>{who.tenant}</bdi> · {who.role}
						</>
					) : (
						who.role
					)}
				</span>
				<button onClick={p.logout}>Log out</button>
			</header>
			<main id="main" tabIndex={-1}>
				{route.page === 'home' && <Home who={who} />}
				{route.page === 'app' && <AppPage key={route.name} name={route.name} who={who} />}
				{route.page === 'tenant' && <TenantPage key={route.name} name={route.name} who={who} />}
				{route.page === 'unknown' && (
					<div class="empty">
						<h1 tabIndex={-1}>There is no such page</h1>
						<p>
							<Link href="/">Back to the apps</Link>
						</p>
					</div>
				)}
			</main>
		</>
	);
}

function Root(): JSX.Element {
	const [session, set] = useState<Session>('unknown');

	function look(): void {
		get<Whoami>('/v1/whoami').then(
			(who) => set({ who }),
			(error) =>
				set(error instanceof ApiError && error.status === 401 ? (s) => (s === 'ended' ? s : 'out') : { error }),
		);
	}
	useEffect(() => {
		// A session that was never there is no news; one that ended under the page is.
		onSessionLost(() => set((s) => (typeof s === 'object' && 'who' in s ? 'ended' : s === 'ended' ? s : 'out')));
		look();
	}, []);

	async function logout(): Promise<void> {
		if (await act(() => send('DELETE', '/v1/session'), '')) {
			set('out');
			go('/');
		}
	}

	let page: JSX.Element;
	if (session === 'unknown') page = <p class="loading quiet">Loading…</p>;
	else if (session === 'out' || session === 'ended') page = <Login ended={session === 'ended'} onDone={look} />;
	else if ('who' in session) page = <Shell who={session.who} logout={() => void logout()} />;
	else
		page = (
			<div class="loading">
				<Problem error={session.error} retry={look} />
			</div>
		);
	return (
		<>
			{page}
			<Voice />
		</>
	);
}

render(<Root />, document.getElementById('root')!);
