import { useState, type FormEvent } from "react";

export function TaskForm({ onAdd }: { onAdd: (text: string) => void }) {
  const [text, setText] = useState("");

  function submit(event: FormEvent) {
    event.preventDefault();
    const trimmed = text.trim();
    if (!trimmed) return;
    onAdd(trimmed);
    setText("");
  }

  return (
    <form onSubmit={submit} className="mb-6 flex flex-wrap items-end gap-3">
      <div className="min-w-0 flex-1 basis-60">
        <label htmlFor="task" className="font-semibold">
          New task
        </label>
        <input
          id="task"
          value={text}
          maxLength={120}
          autoComplete="off"
          onChange={(event) => setText(event.target.value)}
          className="mt-1 h-12 w-full rounded-xl border border-control bg-surface px-4"
        />
      </div>
      <button type="submit" className="h-12 cursor-pointer rounded-xl bg-accent px-6 font-semibold text-on-accent hover:opacity-90">
        Add
      </button>
    </form>
  );
}
