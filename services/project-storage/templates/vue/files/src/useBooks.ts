import { computed, ref, watch } from "vue";
import { firstBooks, parse, select, type Book, type State } from "./books";

const KEY = "books";

function load(): Book[] {
  try {
    return parse(localStorage.getItem(KEY)) ?? firstBooks;
  } catch {
    return firstBooks;
  }
}

function store(books: Book[]) {
  try {
    localStorage.setItem(KEY, JSON.stringify(books));
  } catch {
    // The books last until the page is closed.
  }
}

// The books and the functions that change them. They are stored in the browser if it allows that.
export function useBooks() {
  const books = ref<Book[]>(load());
  const shown = ref<State | "all">("all");
  watch(books, store, { deep: true });

  return {
    books,
    shown,
    visible: computed(() => select(books.value, shown.value)),
    finished: computed(() => select(books.value, "finished").length),
    add: (title: string, author: string) => books.value.unshift({ id: crypto.randomUUID(), title, author, state: "next" }),
    remove: (id: string) => (books.value = books.value.filter((book) => book.id !== id)),
    move: (id: string, state: State) => (books.value = books.value.map((book) => (book.id === id ? { ...book, state } : book))),
  };
}
