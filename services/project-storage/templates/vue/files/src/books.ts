// The rules of the reading list. They know no component and no storage.
export const STATES = ["next", "reading", "finished"] as const;
export type State = (typeof STATES)[number];
export const STATE_NAMES: Record<State, string> = { next: "Next", reading: "Reading", finished: "Finished" };

export interface Book {
  id: string;
  title: string;
  author: string;
  state: State;
}

export const firstBooks: Book[] = [
  { id: "1", title: "The Lighthouse Keeper's Garden", author: "Elena Marsh", state: "reading" },
  { id: "2", title: "A Short History of Maps", author: "Jonas Reed", state: "next" },
  { id: "3", title: "Letters from the Night Shift", author: "Amara Cole", state: "next" },
  { id: "4", title: "Salt and Weather", author: "Piet van Dijk", state: "finished" },
];

export function select(books: Book[], state: State | "all"): Book[] {
  return state === "all" ? books : books.filter((book) => book.state === state);
}

// Reads stored books. Anything else than a list of books gives null.
export function parse(text: string | null): Book[] | null {
  try {
    const value: unknown = JSON.parse(text ?? "null");
    return Array.isArray(value) && value.every(isBook) ? value : null;
  } catch {
    return null;
  }
}

function isBook(value: unknown): value is Book {
  if (typeof value !== "object" || value === null) return false;
  const book = value as Record<string, unknown>;
  const texts = [book.id, book.title, book.author].every((text) => typeof text === "string");
  return texts && STATES.some((state) => state === book.state);
}
