// The rules of the task list. They know no component and no storage.
export interface Task {
  id: string;
  text: string;
  done: boolean;
}

export const FILTERS = ["all", "open", "done"] as const;
export type Filter = (typeof FILTERS)[number];

export type Action =
  | { kind: "add"; id: string; text: string }
  | { kind: "toggle"; id: string }
  | { kind: "remove"; id: string }
  | { kind: "clear" };

export function reduce(tasks: Task[], action: Action): Task[] {
  switch (action.kind) {
    case "add":
      return [...tasks, { id: action.id, text: action.text, done: false }];
    case "toggle":
      return tasks.map((task) => (task.id === action.id ? { ...task, done: !task.done } : task));
    case "remove":
      return tasks.filter((task) => task.id !== action.id);
    case "clear":
      return tasks.filter((task) => !task.done);
  }
}

export function select(tasks: Task[], filter: Filter): Task[] {
  return filter === "all" ? tasks : tasks.filter((task) => task.done === (filter === "done"));
}

// Reads stored tasks. Anything else than a list of tasks gives null.
export function parse(text: string | null): Task[] | null {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return Array.isArray(value) && value.every(isTask) ? value : null;
  } catch {
    return null;
  }
}

function isTask(value: unknown): value is Task {
  if (typeof value !== "object" || value === null) return false;
  const task = value as Record<string, unknown>;
  return typeof task.id === "string" && typeof task.text === "string" && typeof task.done === "boolean";
}
