import { useEffect, useReducer } from "react";
import { parse, reduce, type Task } from "./tasks";

const KEY = "tasks";
const FIRST_TASKS: Task[] = [
  { id: "1", text: "Water the plants on the balcony", done: true },
  { id: "2", text: "Call the dentist about Thursday", done: false },
  { id: "3", text: "Finish the draft of the talk", done: false },
];

function load(): Task[] {
  try {
    return parse(localStorage.getItem(KEY)) ?? FIRST_TASKS;
  } catch {
    return FIRST_TASKS;
  }
}

// The tasks, and a function that changes them. They are stored in the browser if it allows that.
export function useTasks() {
  const [tasks, dispatch] = useReducer(reduce, null, load);
  useEffect(() => {
    try {
      localStorage.setItem(KEY, JSON.stringify(tasks));
    } catch {
      // The tasks last until the page is closed.
    }
  }, [tasks]);
  return [tasks, dispatch] as const;
}
