import { useState } from "react";

import { Button } from "@/components/ui/button";

interface Task {
  title: string;
  isDone: boolean;
}

const FIRST: Task[] = [
  { title: "Water the ferns", isDone: false },
  { title: "Repot the basil", isDone: false },
];

export default function App() {
  const [tasks, setTasks] = useState(FIRST);
  const [isDark, setDark] = useState(false);
  const open = tasks.filter((task) => !task.isDone).length;
  const toggle = (title: string) => setTasks(tasks.map((task) => (task.title === title ? { ...task, isDone: !task.isDone } : task)));
  const changeTheme = () => {
    document.documentElement.classList.toggle("dark", !isDark);
    setDark(!isDark);
  };
  return (
    <main className="container space-y-6 py-8">
      <header className="flex items-center justify-between stripes-4">
        <h1 className="text-3xl font-bold tracking-tight">Planner</h1>
        <Button variant="outline" size="sm" onClick={changeTheme}>
          {isDark ? "Light theme" : "Dark theme"}
        </Button>
      </header>
      <p className="text-muted-foreground">{open} open tasks</p>
      <ul className="grid gap-4 md:grid-cols-2">
        {tasks.map((task) => (
          <li key={task.title} className="task animate-in fade-in" data-done={task.isDone}>
            <span className="grow">{task.title}</span>
            <Button onClick={() => toggle(task.title)}>{task.isDone ? "Reopen" : "Done"}</Button>
          </li>
        ))}
      </ul>
      <article className="prose dark:prose-invert">
        <h2>Notes</h2>
      </article>
    </main>
  );
}
