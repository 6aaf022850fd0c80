import type { Task } from "../tasks";

interface Props {
  tasks: Task[];
  onToggle: (id: string) => void;
  onRemove: (id: string) => void;
}

export function TaskList({ tasks, onToggle, onRemove }: Props) {
  if (tasks.length === 0) {
    return <p className="rounded-2xl border border-dashed border-control p-10 text-center text-muted">There is nothing here.</p>;
  }
  return (
    <ul className="divide-y divide-line overflow-hidden rounded-2xl border border-line bg-surface shadow-sm">
      {tasks.map((task) => (
        <li key={task.id} className="flex items-center gap-3 px-4 py-2">
          <label className="flex min-w-0 flex-1 cursor-pointer items-center gap-4 py-2">
            <input type="checkbox" checked={task.done} onChange={() => onToggle(task.id)} className="size-8 shrink-0 accent-accent" />
            <span className={task.done ? "min-w-0 wrap-anywhere text-muted line-through" : "min-w-0 wrap-anywhere"}>{task.text}</span>
          </label>
          <button
            type="button"
            aria-label={`Delete ${task.text}`}
            onClick={() => onRemove(task.id)}
            className="grid size-11 shrink-0 cursor-pointer place-content-center rounded-lg text-muted hover:text-ink"
          >
            <svg viewBox="0 0 20 20" className="size-5" fill="none" stroke="currentColor" strokeWidth="2" strokeLinecap="round" aria-hidden="true">
              <path d="M5 5l10 10M15 5L5 15" />
            </svg>
          </button>
        </li>
      ))}
    </ul>
  );
}
