import plugin from "tailwindcss/plugin";

// Stripes of any width: `stripes-4`.
export const stripes = plugin(({ matchUtilities, theme }) => {
  matchUtilities(
    { stripes: (width) => ({ backgroundImage: `repeating-linear-gradient(90deg, transparent 0 ${width}, rgb(0 0 0 / 0.05) ${width} calc(2 * ${width}))` }) },
    { values: theme("spacing") },
  );
});
