export interface Note {
  id: number;
  text: string;
  done: boolean;
}

class Notes {
  list = $state<Note[]>([
    { id: 1, text: "Buy bread", done: false },
    { id: 2, text: "Call Ann", done: false },
  ]);
  open = $derived(this.list.filter((note) => !note.done).length);

  add(text: string): void {
    this.list.push({ id: this.list.length + 1, text, done: false });
  }
}

export const notes = new Notes();
