import { useMemo, useState } from "react";
import { Area, AreaChart, Bar, BarChart, CartesianGrid, Legend, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";
import notes from "./notes.md?raw";
import { sales } from "./sales";
import { useSummary } from "./useSummary";
import styles from "./app.module.scss";

const RANGES = [7, 14, 30] as const;
const money = new Intl.NumberFormat("en-IE", { style: "currency", currency: import.meta.env.VITE_CURRENCY, maximumFractionDigits: 0 });

export default function App() {
  const [range, setRange] = useState<number>(7);
  const days = useMemo(() => sales(range), [range]);
  const summary = useSummary(days);
  return (
    <main className={styles.page}>
      <h1>Sales</h1>
      <div className={styles.ranges} role="group" aria-label="Range">
        {RANGES.map((value) => (
          <button key={value} type="button" aria-pressed={value === range} onClick={() => setRange(value)}>
            {value} days
          </button>
        ))}
      </div>
      <p>{summary ? `${money.format(summary.revenue)} in ${range} days, most on ${summary.best}` : "Computing…"}</p>
      <section className={styles.panel} aria-label="Revenue">
        <h2>Revenue</h2>
        <ResponsiveContainer width="100%" height={220}>
          <AreaChart data={days}>
            <CartesianGrid strokeDasharray="3 3" />
            <XAxis dataKey="day" />
            <YAxis />
            <Tooltip />
            <Area type="monotone" dataKey="revenue" stroke="#0f766e" fill="#99f6e4" isAnimationActive={false} />
          </AreaChart>
        </ResponsiveContainer>
      </section>
      <section className={styles.panel} aria-label="Orders">
        <h2>Orders</h2>
        <ResponsiveContainer width="100%" height={220}>
          <BarChart data={days}>
            <XAxis dataKey="day" />
            <YAxis />
            <Legend />
            <Bar dataKey="orders" fill="#0f766e" isAnimationActive={false} />
          </BarChart>
        </ResponsiveContainer>
      </section>
      <footer>{notes}</footer>
    </main>
  );
}
