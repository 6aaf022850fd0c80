import { FILTERS, type Filter } from "../tasks";

const NAMES: Record<Filter, string> = { all: "All", open: "Open", done: "Done" };

export function FilterBar({ filter, onChange }: { filter: Filter; onChange: (filter: Filter) => void }) {
  return (
    <div role="group" aria-label="Show tasks" className="mb-4 flex gap-2">
      {FILTERS.map((name) => (
        <button
          key={name}
          type="button"
          aria-pressed={name === filter}
          onClick={() => onChange(name)}
          className="min-h-10 cursor-pointer rounded-full border border-control px-4 font-medium aria-pressed:border-accent aria-pressed:bg-accent aria-pressed:text-on-accent"
        >
          {NAMES[name]}
        </button>
      ))}
    </div>
  );
}
