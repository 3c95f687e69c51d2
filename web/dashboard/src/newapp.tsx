import type { JSX } from 'preact';
import { useState } from 'preact/hooks';
import { send } from './api';
import { appHref, go } from './router';
import type { App, Tenant } from './types';
import { Dialog, Problem } from './ui';

/** `tenants` is null for a tenant's own token: the app is theirs. */
export function NewApp(p: { tenants: Tenant[] | null; onClose: () => void }): JSX.Element {
	const [name, setName] = useState('');
	const [tenant, setTenant] = useState(p.tenants?.[0]?.name ?? '');
	const [error, setError] = useState<unknown>(null);
	const [busy, setBusy] = useState(false);

	async function submit(e: SubmitEvent): Promise<void> {
		e.preventDefault();
		setBusy(true);
		setError(null);
		try {
			const app = await send<App>(
				'POST',
				'/v1/apps',
				p.tenants ? { name: name.trim(), tenant } : { name: name.trim() },
			);
			p.onClose();
			go(appHref(app?.name ?? name.trim()));
		} catch (err) {
			setError(err);
		}
		setBusy(false);
	}

	return (
		<Dialog title="New app" onClose={p.onClose}>
			<form onSubmit={(e) => void submit(e)} class="stack">
				<label for="new-name">Name</label>
				<input
					id="new-name"
					value={name}
					required
					maxLength={40}
					autocomplete="off"
					spellcheck={false}
					autofocus
					onInput={(e) => setName(e.currentTarget.value)}
				/>
				<p class="quiet">Small letters, digits and hyphens. It becomes the first part of the app’s address.</p>
				{p.tenants && (
					<>
						<label for="new-tenant">Tenant</label>
						<select id="new-tenant" value={tenant} onChange={(e) => setTenant(e.currentTarget.value)}>
							{p.tenants.map((t) => (
								<option key={t.name}>{t.name}</option>
							))}
						</select>
						{p.tenants.length === 0 && (
							<p class="quiet">There is no tenant yet: create one with the tulou command first.</p>
						)}
					</>
				)}
				<Problem error={error} />
				<div class="dialog-buttons">
					<button type="button" onClick={p.onClose}>
						Cancel
					</button>
					<button class="primary" type="submit" disabled={busy || (p.tenants !== null && !tenant)}>
						Create
					</button>
				</div>
			</form>
		</Dialog>
	);
}
