import { computed, ref } from "vue";
import { defineStore } from "pinia";

export interface Book {
  id: number;
  title: string;
  pages: number;
  read: boolean;
}

export const useBooks = defineStore("books", () => {
  const books = ref<Book[]>([
    { id: 1, title: "The Night Train", pages: 312, read: true },
    { id: 2, title: "Bread and Salt", pages: 208, read: false },
  ]);
  const pagesRead = computed(() => books.value.filter((book) => book.read).reduce((sum, book) => sum + book.pages, 0));

  function add(title: string, pages: number) {
    books.value.push({ id: books.value.length + 1, title, pages, read: false });
  }

  return { books, pagesRead, add };
});
