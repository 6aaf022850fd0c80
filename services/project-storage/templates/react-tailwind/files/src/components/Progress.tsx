const RADIUS = 26;
const LENGTH = 2 * Math.PI * RADIUS;

export function Progress({ done, total }: { done: number; total: number }) {
  const share = total === 0 ? 0 : done / total;
  return (
    <div role="img" aria-label={`${done} of ${total} tasks are done`} className="relative size-20 shrink-0">
      <svg viewBox="0 0 64 64" className="size-full -rotate-90" fill="none" strokeWidth="7">
        <circle cx="32" cy="32" r={RADIUS} className="stroke-line" />
        <circle
          cx="32"
          cy="32"
          r={RADIUS}
          className="stroke-accent transition-[stroke-dashoffset] duration-500 motion-reduce:transition-none"
          strokeDasharray={LENGTH}
          strokeDashoffset={LENGTH * (1 - share)}
        />
      </svg>
      <span className="absolute inset-0 grid place-content-center font-bold tabular-nums">
        {done}/{total}
      </span>
    </div>
  );
}
