import { addDays, format } from "date-fns";

export interface Day {
  day: string;
  orders: number;
  revenue: number;
}

const FIRST = new Date(2026, 0, 5);

/** The same numbers at each call, so that a chart can be compared with an earlier one. */
export function sales(days: number): Day[] {
  return Array.from({ length: days }, (_, at) => {
    const orders = 20 + ((at * 7) % 13);
    return { day: format(addDays(FIRST, at), "d MMM"), orders, revenue: orders * 42 + (at % 5) * 10 };
  });
}
