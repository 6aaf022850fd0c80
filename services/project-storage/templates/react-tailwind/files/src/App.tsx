import { useState } from "react";
import { FilterBar } from "./components/FilterBar";
import { Progress } from "./components/Progress";
import { TaskForm } from "./components/TaskForm";
import { TaskList } from "./components/TaskList";
import { select, type Filter } from "./tasks";
import { useTasks } from "./useTasks";

export function App() {
  const [tasks, dispatch] = useTasks();
  const [filter, setFilter] = useState<Filter>("all");
  const done = tasks.filter((task) => task.done).length;

  return (
    <main className="mx-auto max-w-2xl px-5 py-10 sm:py-20">
      <header className="mb-8 flex items-center justify-between gap-6">
        <div>
          <h1 className="text-4xl font-bold tracking-tight sm:text-5xl">%%siteTitle%%</h1>
          <p className="mt-2 text-lg text-muted">A short list is a finished list.</p>
        </div>
        <Progress done={done} total={tasks.length} />
      </header>
      <TaskForm onAdd={(text) => dispatch({ kind: "add", id: crypto.randomUUID(), text })} />
      <FilterBar filter={filter} onChange={setFilter} />
      <TaskList
        tasks={select(tasks, filter)}
        onToggle={(id) => dispatch({ kind: "toggle", id })}
        onRemove={(id) => dispatch({ kind: "remove", id })}
      />
      {done > 0 && (
        <button type="button" onClick={() => dispatch({ kind: "clear" })} className="mt-4 min-h-11 cursor-pointer font-semibold text-accent underline underline-offset-4">
          Remove finished tasks
        </button>
      )}
    </main>
  );
}
