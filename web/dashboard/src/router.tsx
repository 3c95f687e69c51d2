// Real addresses: "/", "/apps/<name>" and, for operators, "/tenants/<name>".
import type { ComponentChildren, JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';

export type Route = { page: 'home' } | { page: 'app' | 'tenant'; name: string } | { page: 'unknown' };

export function parseRoute(path: string): Route {
	if (path === '/' || path === '/index.html') return { page: 'home' };
	const m = /^\/(app|tenant)s\/([^/]+)\/?$/.exec(path);
	if (m) {
		try {
			return { page: m[1] as 'app' | 'tenant', name: decodeURIComponent(m[2]!) };
		} catch {
			/* a broken escape names nothing */
		}
	}
	return { page: 'unknown' };
}

export const appHref = (name: string): string => `/apps/${encodeURIComponent(name)}`;
export const tenantHref = (name: string): string => `/tenants/${encodeURIComponent(name)}`;

export function go(path: string): void {
	history.pushState(null, '', path);
	dispatchEvent(new PopStateEvent('popstate'));
	scrollTo(0, 0);
	// A screen reader is told of the new page by the focus moving to its heading.
	requestAnimationFrame(() => document.querySelector<HTMLElement>('h1')?.focus({ preventScroll: true }));
}

export function useRoute(): Route {
	const [path, set] = useState(location.pathname);
	useEffect(() => {
		const on = (): void => set(location.pathname);
		addEventListener('popstate', on);
		return () => removeEventListener('popstate', on);
	}, []);
	return parseRoute(path);
}

export function Link(p: { href: string; class?: string; children: ComponentChildren; label?: string }): JSX.Element {
	return (
		<a
			href={p.href}
			class={p.class}
			aria-label={p.label}
			onClick={(e) => {
				if (e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
				e.preventDefault();
				go(p.href);
			}}
		>
			{p.children}
		</a>
	);
}
