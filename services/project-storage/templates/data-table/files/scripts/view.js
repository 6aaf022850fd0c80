// What the table shows: plain functions of the rows and the state.
export const columns = [
  { key: "number", label: "Order" },
  { key: "customer", label: "Customer" },
  { key: "city", label: "City" },
  { key: "date", label: "Date" },
  { key: "amount", label: "Amount", numeric: true },
  { key: "status", label: "Status" },
];

const compare = (a, b) => (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true }));

export function select(rows, { query, status, sort, descending }) {
  const text = query.trim().toLowerCase();
  const matches = (row) => [row.number, row.customer, row.city].some((value) => value.toLowerCase().includes(text));
  const sign = descending ? -1 : 1;
  return rows.filter((row) => (!status || row.status === status) && matches(row)).sort((a, b) => sign * compare(a[sort], b[sort]));
}

// One page of rows. A page after the last one counts as the last one.
export function paginate(rows, page, size) {
  const pages = Math.max(1, Math.ceil(rows.length / size));
  const current = Math.min(page, pages);
  return { rows: rows.slice((current - 1) * size, current * size), page: current, pages };
}

const cell = (value) => {
  const text = /^[=+\-@]/.test(String(value)) ? `'${value}` : String(value);
  return `"${text.replaceAll('"', '""')}"`;
};

// Cells that a spreadsheet would read as formulas begin with an apostrophe.
export function toCsv(rows) {
  const lines = [columns.map(({ label }) => cell(label)), ...rows.map((row) => columns.map(({ key }) => cell(row[key])))];
  return lines.map((line) => line.join(",")).join("\r\n");
}
