import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, send } from './api';
import { Logo, Problem } from './ui';

export function Login(p: { ended: boolean; onDone: () => void }): JSX.Element {
	const [token, setToken] = useState('');
	const [busy, setBusy] = useState(false);
	const [error, setError] = useState<unknown>(null);
	const field = useRef<HTMLInputElement>(null);
	useEffect(() => {
		field.current?.focus();
		document.title = 'Log in · Tulou';
	}, []);

	async function submit(e: SubmitEvent): Promise<void> {
		e.preventDefault();
		const t = token.trim();
		if (!t) {
			setError(new Error('Paste a token first.'));
			return;
		}
		setBusy(true);
		setError(null);
		try {
			await send('POST', '/v1/session', { token: t });
			p.onDone();
		} catch (err) {
			const wrong = err instanceof ApiError && (err.status === 401 || err.status === 403);
			setError(wrong ? new Error('The node does not know this token. Check that all of it was copied.') : err);
		}
		setBusy(false);
	}

	return (
		<main class="login">
			<form onSubmit={(e) => void submit(e)}>
				<Logo />
				<h1>Tulou</h1>
				<label for="token">Token</label>
				<input
					ref={field}
					id="token"
					name="token"
					type="password"
					autocomplete="current-password"
					spellcheck={false}
					placeholder="tul_…"
					maxLength={512}
					value={token}
					aria-invalid={error ? 'true' : undefined}
					onInput={(e) => setToken(e.currentTarget.value)}
				/>
				{p.ended && !error && <p class="quiet">The session has ended. Log in again to go on where you were.</p>}
				<Problem error={error} />
				<button class="primary" type="submit" disabled={busy}>
					{busy ? 'Logging in…' : 'Log in'}
				</button>
				<p class="quiet">
					The operator’s token is in the file <code>control/operator.token</code> of the node’s data directory. A
					tenant’s token comes from the operator, or from <code>tulou tokens</code>.
				</p>
			</form>
		</main>
	);
}
