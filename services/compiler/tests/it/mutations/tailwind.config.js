const own = ({ addUtilities, theme }) => {
  const sizes = Object.entries(theme('spacing', {})).slice(0, 4);
  addUtilities(Object.fromEntries(sizes.map(([name, size]) => [`.own-${name.replace('.', '_')}`, { width: size, '&:hover': { color: 'red' } }])));
};

export default {
  content: ['./index.html', './src/**/*.{ts,tsx,vue,svelte}'],
  darkMode: ['class', '[data-theme="dark"]'],
  safelist: ['p-8', { pattern: /^m-[1-4]$/, variants: ['hover'] }],
  theme: {
    screens: { sm: '40rem', lg: { min: '64rem' } },
    extend: { colors: { brand: { DEFAULT: '#123', light: 'oklch(70% 0.1 200)' } }, spacing: { 18: '4.5rem' } },
  },
  plugins: [own],
};
