// What the versions of Tailwind share. SHEETS has the style sheets of packages, by specifier.

const fail = (message, line = 1, column = 1, path = "") => ({ error: { message, line, column, path } });

// A sheet with files of its own stays an import, so that their addresses are found.
const hasFiles = (text) => /url\(\s*["']?(?!data:|https?:|#|\/\/)/.test(text) && !/@(apply|theme|utility|plugin|custom-variant|tailwind)\b/.test(text);

// The text of a sheet inside of another one: relative addresses are relative to the other.
function rebase(text, from, to) {
  if (builtinPath.dirname(`/${from}`) === builtinPath.dirname(`/${to}`)) return text;
  const folder = builtinPath.dirname(`/${to}`);
  const moved = (address) => builtinPath.relative(folder, builtinPath.join(builtinPath.dirname(`/${from}`), address));
  return text.replace(/url\(\s*(["']?)(\.{1,2}\/[^"')]+)\1\s*\)/g, (_, quote, address) => {
    const path = moved(address);
    return `url(${quote}${path.startsWith(".") ? path : `./${path}`}${quote})`;
  });
}
