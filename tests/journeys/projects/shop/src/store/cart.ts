import { create } from "zustand";
import { persist } from "zustand/middleware";
import { find, type Product } from "@/data/products";

interface CartState {
  counts: Record<string, number>;
  add: (product: Product) => void;
  remove: (id: string) => void;
  clear: () => void;
}

export const useCart = create<CartState>()(
  persist(
    (set) => ({
      counts: {},
      add: ({ id }) => set(({ counts }) => ({ counts: { ...counts, [id]: (counts[id] ?? 0) + 1 } })),
      remove: (id) =>
        set(({ counts: { [id]: count = 0, ...others } }) => ({ counts: count > 1 ? { ...others, [id]: count - 1 } : others })),
      clear: () => set({ counts: {} }),
    }),
    { name: "cart" },
  ),
);

export const countOf = (state: CartState) => Object.values(state.counts).reduce((sum, count) => sum + count, 0);

export const totalOf = (state: CartState) =>
  Object.entries(state.counts).reduce((sum, [id, count]) => sum + (find(id)?.cents ?? 0) * count, 0);
