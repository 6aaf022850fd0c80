import { useEffect, useState } from "react";
import type { Day } from "./sales";

export interface Summary {
  revenue: number;
  best: string;
}

/** Computes the summary in a worker. */
export function useSummary(days: Day[]): Summary | undefined {
  const [summary, setSummary] = useState<Summary>();
  useEffect(() => {
    const worker = new Worker(new URL("./summary.worker.ts", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => setSummary(data);
    worker.postMessage(days);
    return () => worker.terminate();
  }, [days]);
  return summary;
}
