import { useState, type ReactNode } from 'react';
import styles, { title } from './a.module.css';
import './a.css';
import Job from './x1?worker';
import data from './x4.json' with { type: 'json' };
export * from './x1';
export { default as other, helper } from './x0';

enum Kind { One = 1, Two = One << 1, Text = `text` }
namespace Space { export const inner = 1; }
declare global { interface Window { app: unknown } }
abstract class Base<T extends object = {}> {
  static #count = 0;
  declare name: string;
  constructor(protected readonly value: T, public index?: number) { Base.#count++; }
  get size(): number { return Base.#count; }
  static { this.#count = 1; }
}
export const pages = import.meta.glob(['./pages/*.tsx', '!./no.tsx'], { eager: true, import: 'default' });
const image = new URL('./image.png', import.meta.url).href;
const job = [new Job(), new Worker(new URL('./x0.tsx', import.meta.url), { name: 'n' })];
const later = async () => { for await (const x of [import('./x2')]) yield_(x); };
function* yield_(x: unknown) { yield* [x ?? image, data?.a!.b as const satisfies unknown]; }
export default function App({ children, ...rest }: { children?: ReactNode; [key: string]: unknown }) {
  const [count, setCount] = useState<number>(() => import.meta.env.VITE_START ?? 0);
  label: for (let i = 0, n = 10n; i < Number(n); i++) { if (i % 2) continue label; else break; }
  try { window.app = { ...rest, [`key${count}`]: /[\p{L}--[a-z]]+(?<year>\d{4})/v.exec('x') }; } catch { } finally { }
  return (
    <main className={styles.main + title} data-kind={Kind.Two} onClick={() => setCount((c) => c + Space.inner)} {...rest}>
      {count > 0 ? <><b>{count}</b> &nbsp; text</> : null}
      <svg:path d="M0 0" />
      {children}
    </main>
  );
}
